"""The cases by family; each module's `build()` returns its ops."""
