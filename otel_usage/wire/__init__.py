"""What vendors accept, written from their documentation: for `otel-usage listen` and the tests.

Ring 1 (background): pure, stdlib only. Shares nothing with the exporters: a rule misread there must not pass here.
"""
