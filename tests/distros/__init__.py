"""The shipped scenarios on other distributions: `make distros`."""
