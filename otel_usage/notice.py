def show(settings, decision): pass
