"""The faces of envoyassert inside pytest: options, collection of YAML files, fixtures."""
