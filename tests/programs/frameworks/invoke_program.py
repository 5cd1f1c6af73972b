"""Tasks of its own, in a collection."""

import sys
from invoke import Program, Collection, task

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


@task(aliases=["b"])
def build(c, fast=False, name="x"):
    pass


@task
def fail(c):
    sys.exit(6)


ns = Collection(build, fail)
ns.add_collection(Collection("sub", build))
Program(namespace=ns, version="1").run()
