from hypothesis import settings

pytest_plugins = ["cloche.testing.leaks"]

# No deadline: a busy machine is slow, not wrong. Fewer examples than usual keep tests/unit under five seconds.
settings.register_profile("cloche", deadline=None, max_examples=60)
settings.load_profile("cloche")
