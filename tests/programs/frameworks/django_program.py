"""The commands of django-admin."""

import sys
import django.conf
from django.core.management import execute_from_command_line

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")
execute_from_command_line()
