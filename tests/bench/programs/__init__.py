"""The programs that are measured: installed into the benchmarks' environment as the package `benchcli`.

Each module but the tools is one entry point: the same tool, with one kind of instrumentation or none.
"""
