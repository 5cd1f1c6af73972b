"""A sub-command from a model."""

import sys
from pydantic_settings import BaseSettings, CliApp, CliSubCommand, SettingsConfigDict
from pydantic import BaseModel

import otel_usage

otel_usage.init("prog", version="1.4", consent="opt-in")


class Init(BaseModel):
    directory: str = "x"

    def cli_cmd(self):
        sys.exit(2)


class App(BaseSettings):
    model_config = SettingsConfigDict(cli_prog_name="prog")
    init: CliSubCommand[Init]
    name: str = "a"

    def cli_cmd(self):
        CliApp.run_subcommand(self)


CliApp.run(App)
