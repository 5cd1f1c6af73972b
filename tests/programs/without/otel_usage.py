"""The public names, doing nothing: what a program would be like without us."""


class Nothing:
    def action(self, *args, **fields):
        return self

    count = error = heartbeat = command = action

    def run(self, main, *args, **kwargs):
        return main(*args, **kwargs)

    def __enter__(self):
        return self

    def __exit__(self, *args):
        return None


def init(*args, **settings):
    return Nothing()
