"""A session's id says which primary has it."""

import uuid

import pytest

from actors.shards import Shards, new_session_id, partition_of, shard_of
from engine import limits
from engine.errors import NotFound
from engine.ids import SessionId


@pytest.mark.parametrize("shard", range(limits.SHARDS_MAX))
def test_an_id_keeps_its_shard_and_is_a_uuid(shard):
    ids = [new_session_id(shard) for _ in range(200)]
    assert {shard_of(session_id) for session_id in ids} == {shard}
    assert len(set(ids)) == 200
    for session_id in ids:
        parsed = uuid.UUID(session_id)
        assert str(parsed) == session_id
        assert (parsed.version, parsed.variant) == (8 if shard else 4, uuid.RFC_4122)


def test_ids_of_before_belong_to_the_catalogue_whatever_they_end_in():
    assert {shard_of(SessionId(str(uuid.uuid4()))) for _ in range(1_000)} == {0}


@pytest.mark.parametrize("text", ["", "x", "nul\0inside", "00000000-0000-4000-8000"])
def test_what_is_no_id_is_left_to_the_catalogue_to_refuse(text):
    assert shard_of(SessionId(text)) == 0


def test_other_spellings_of_an_id_are_the_same_session():
    session_id = new_session_id(2)
    assert shard_of(SessionId(session_id.upper())) == 2
    assert shard_of(SessionId(session_id.replace("-", ""))) == 2


def test_a_partition_belongs_to_one_shard():
    for shard in range(limits.SHARDS_MAX):
        found = {partition_of(new_session_id(shard)) for _ in range(500)}
        first = shard * limits.PARTITIONS
        assert found == set(range(first, first + limits.PARTITIONS))


def test_a_shard_that_is_not_there_has_no_session():
    shards = Shards(["catalogue", "other"])
    assert shards.catalogue == shards.of(new_session_id(0)) == "catalogue"
    assert shards.of(new_session_id(1)) == "other"
    with pytest.raises(NotFound):
        shards.of(new_session_id(2))
