from __future__ import annotations

import os

from toolkit.io.verification.hashing import hash_files, hash_json


def test_a_file_that_changed_has_another_hash(tmp_path):
    path = tmp_path / 'a'
    path.write_bytes(b'one')
    before = hash_files(path)
    assert hash_files(path) == before
    path.write_bytes(b'two')
    os.utime(path, ns=(1, 1))
    assert hash_files(path) != before


def test_the_order_of_keys_does_not_change_a_hash():
    assert hash_json({'a': 1, 'b': [2]}) == hash_json({'b': [2], 'a': 1})
    assert hash_json({'a': 1}) != hash_json({'a': '1'})
