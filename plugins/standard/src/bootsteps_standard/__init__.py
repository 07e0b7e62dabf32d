"""No code: this distribution only depends on the usual set of parts."""
