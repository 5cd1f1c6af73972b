"""What a browser shows: Starlette routes, HTML made here, and charts where there are scripts.

A request passes through, in this order::

    routes         the addresses, and the headers of every answer
    session        who may look
    view           the filters, read from the address and written into every link
    reading        answers of `otel_usage.serve.questions`, from the store
    overview, question_page, app_page, live, sign_in   one page each, in a frame
    panel, drawing an answer: its chart, its table, and what the number is
    wording, markup   values as people read them, and markup that can't be broken into
    asset_files    assets/: style, scripts, and echarts.js, which front-end/build.py makes
"""

from __future__ import annotations

from .routes import routes

__all__ = ["routes"]
