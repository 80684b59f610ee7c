"""RayService builds the applications as Serve does from a configuration file."""

import pytest
from pydantic import ValidationError
from ray._common.utils import import_attr
from ray.serve._private.api import call_user_app_builder_with_args_if_necessary

NAMES = ("api", "notificator", "pages")


@pytest.mark.parametrize("name", NAMES)
def test_serve_builds_an_application_from_its_path(name):
    builder = import_attr(f"serve_app.applications:{name}")
    built = call_user_app_builder_with_args_if_necessary(builder, {"replicas": 3})
    deployment = built._bound_deployment
    assert (deployment.name, deployment.num_replicas) == (name, 3)


@pytest.mark.parametrize("arguments", [{"replicas": 0}, {"replicas": 101}, {"copies": 2}])
def test_what_a_builder_does_not_know_is_refused(arguments):
    builder = import_attr("serve_app.applications:api")
    with pytest.raises(ValidationError):
        call_user_app_builder_with_args_if_necessary(builder, arguments)
