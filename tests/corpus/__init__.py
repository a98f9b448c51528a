"""Configs of other projects, drafted and run: `make corpus CONFIGS=folder`."""
