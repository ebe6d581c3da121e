"""One adapter for each platform: its facts, and how an intent becomes changes there. Found by `ccremedy.registry`."""
