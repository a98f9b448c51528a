"""The image of contrib/image, built and run: `make image-test`."""
