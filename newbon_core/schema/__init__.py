"""Documents to models and back, every error with its place in the document."""

from newbon_core.schema.documents import Document, LoadResult, load_documents, load_sources, parse_documents
from newbon_core.schema.dump import dump_node, dump_resources, dump_service, dump_yaml, to_yaml
from newbon_core.schema.node import NodePatch, NodeSchema
from newbon_core.schema.problems import Problem
from newbon_core.schema.selector import Selector, SelectorError, parse_selector
from newbon_core.schema.service import ServiceSchema

__all__ = [
    "Document",
    "LoadResult",
    "NodePatch",
    "NodeSchema",
    "Problem",
    "Selector",
    "SelectorError",
    "ServiceSchema",
    "dump_node",
    "dump_resources",
    "dump_service",
    "dump_yaml",
    "load_documents",
    "load_sources",
    "parse_documents",
    "parse_selector",
    "to_yaml",
]
