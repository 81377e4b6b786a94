"""The version, which the package, the node pack and the release share."""

__version__ = "0.1.0"
