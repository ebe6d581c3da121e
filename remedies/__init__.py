"""One file, one remedy. Found by `ccremedy.registry`; helpers start with an underscore."""
