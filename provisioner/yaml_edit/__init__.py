"""Changes of YAML that a person wrote: nothing but the changed values moves."""
