"""Record Envoys that something else starts, from their exec on."""
