"""The server of a report: who may read it, what it refuses, and how it renews itself."""

from __future__ import annotations

import http.client
import json
import re
import socket
import threading
from contextlib import contextmanager
from types import SimpleNamespace

import pytest

from tests.support.study_folders import finish, study_of
from toolkit.cli import main
from toolkit.errors import RunError
from toolkit.report.live import access, server
from toolkit.report.live.renewal import Edition, Renewal
from toolkit.report.live.stamps import stamp_folders

PAGE = Edition(b'<p>the page</p>', 'v1')


@contextmanager
def served(host=server.LOCAL, edition=PAGE):
    with server.ReportServer(SimpleNamespace(edition=edition), host, 0) as found:
        thread = threading.Thread(target=found.serve_forever, args=(0.02,), daemon=True)
        thread.start()
        yield found
        found.shutdown()
        thread.join()


def ask(found, path='/', method='GET', host=None, headers=()):
    """Asks by a bare connection; returns status, headers and content."""
    port = found.server_address[1]
    connection = http.client.HTTPConnection('127.0.0.1', port, timeout=5)
    connection.putrequest(method, path, skip_host=True)
    connection.putheader('Host', f'127.0.0.1:{port}' if host is None else host)
    for name, value in headers:
        connection.putheader(name, value)
    connection.endheaders()
    answer = connection.getresponse()
    content = answer.read()
    connection.close()
    return answer.status, answer, content


def test_the_page_and_its_version():
    with served() as found:
        status, answer, content = ask(found)
        assert (status, content) == (200, b'<p>the page</p>')
        assert answer.headers['Cache-Control'] == 'no-store'
        assert answer.headers['X-Frame-Options'] == 'DENY'
        assert answer.headers['Server'].strip() == 'Ablakit'  # and not which Python
        assert json.loads(ask(found, '/version')[2]) == {'version': 'v1', 'error': ''}


@pytest.mark.parametrize(
    'method', ['HEAD', 'POST', 'PUT', 'DELETE', 'OPTIONS', 'TRACE', 'NONSENSE']
)
def test_only_get_is_served(method):
    with served() as found:
        status, answer, content = ask(found, method=method)
        assert status == 405 and answer.headers['Allow'] == 'GET'
        assert b'the page' not in content


@pytest.mark.parametrize(
    'path',
    [
        '/../../../../etc/passwd',
        '/%2e%2e/%2e%2e/etc/passwd',
        '//etc/passwd',
        '/plan.json',
        '/runs/full-s0/capsule.json',
        '/..\\..\\secret',
        '/version/../plan.json',
        '/\x00',
        '//[',
    ],
)
def test_no_file_is_served(path):
    with served() as found:
        port = found.server_address[1]
        with socket.create_connection(('127.0.0.1', port), timeout=5) as raw:
            raw.sendall(f'GET {path} HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n'.encode())
            answer = b''.join(iter(lambda: raw.recv(4096), b''))
        assert re.match(rb'HTTP/1.1 40[04] ', answer), answer
        assert b'root:' not in answer


@pytest.mark.parametrize(
    'host', ['evil.example', 'evil.example:8642', '192.0.2.7', '', '127.0.0.1.evil.example', '[::1']
)
def test_a_name_that_leads_here_from_elsewhere_is_refused(host):
    with served() as found:
        status, _, content = ask(found, host=host)
        assert status == 403 and b'the page' not in content


@pytest.mark.parametrize('host', ['localhost', 'LOCALHOST:1', '127.0.0.1:99', '[::1]:8642'])
def test_names_of_this_computer_are_served(host):
    with served() as found:
        assert ask(found, host=host)[0] == 200


def test_readers_of_other_computers_need_the_token():
    with served('0.0.0.0') as found:
        token = re.search(r'\?token=(.+)$', found.url)[1]
        assert len(token) >= 32
        for path, headers in (
            ('/', ()),
            ('/version', ()),
            ('/?token=wrong', ()),
            ('/?token=', ()),
            ('/', [('Cookie', f'{access.COOKIE}=wrong')]),
            ('/', [('Cookie', '=;;=')]),
            ('/?token=%ff', ()),
        ):
            status, _, content = ask(found, path, headers=headers)
            assert status == 403 and b'the page' not in content, path
        status, answer, _ = ask(found, f'/?token={token}')
        assert status == 303 and answer.headers['Location'] == '/'
        cookie = answer.headers['Set-Cookie']
        assert 'HttpOnly' in cookie and 'SameSite' in cookie
        assert ask(found, headers=[('Cookie', cookie.split(';')[0])])[2] == b'<p>the page</p>'
        # Another server of this host may have left a cookie that is no good one.
        mixed = f'state={{"a": [1]}}; {cookie.split(";")[0]}; x'
        assert ask(found, headers=[('cookie', mixed)])[2] == b'<p>the page</p>'
        assert ask(found, host='evil.example', headers=[('Cookie', cookie.split(';')[0])])[0] == 403
        assert token not in repr(found.access)


def test_this_computer_alone_needs_none():
    assert access.Access.for_host('127.0.0.1').token == ''
    assert access.Access.for_host('localhost').token == ''
    assert access.Access.for_host('::1').token == ''
    for host in ('0.0.0.0', '::', '192.0.2.7', 'no such host'):
        assert access.Access.for_host(host).token, host


def test_a_reader_who_leaves_is_no_error(capsys):
    with served(edition=Edition(b'x' * 5_000_000, 'v')) as found:
        port = found.server_address[1]
        with socket.create_connection(('127.0.0.1', port), timeout=5) as raw:
            raw.sendall(f'GET / HTTP/1.1\r\nHost: 127.0.0.1:{port}\r\n\r\n'.encode())
            raw.recv(10)
        assert ask(found, '/version')[0] == 200
    assert capsys.readouterr().err == ''


# -- the command -----------------------------------------------------------------------------------


def test_a_port_that_is_taken_is_said_in_a_line(tmp_path, capsys):
    study = study_of(tmp_path / 'study', {'full': [0.5]})
    with socket.socket() as taken:
        taken.bind(('127.0.0.1', 0))
        taken.listen()
        port = taken.getsockname()[1]
        assert main(['report', str(study), '--serve', '--port', str(port)]) == 1
    assert capsys.readouterr().err == f'port {port} of 127.0.0.1 is taken; choose another --port\n'


@pytest.mark.parametrize(
    ('options', 'message'),
    [
        (['--port', '1'], '--port is an option of --serve'),
        (['--host', 'x'], '--host is an option of --serve'),
        (['--serve', '--output', 'x.html'], '--serve writes no file'),
        (['--serve', '--port', '70000'], '--port expects a number from 0 to 65535, found 70000'),
    ],
)
def test_options_that_do_not_go_together(tmp_path, options, message, capsys):
    study = study_of(tmp_path / 'study', {'full': [0.5]})
    assert main(['report', str(study), *options]) == 2
    assert message in capsys.readouterr().err


def test_folders_and_hosts_that_are_none(tmp_path, capsys):
    assert main(['report', str(tmp_path), '--serve', '--port', '0']) == 2
    assert 'holds neither a study' in capsys.readouterr().err
    with pytest.raises(RunError, match='cannot serve at 192.0.2.7'):
        server.ReportServer(SimpleNamespace(edition=PAGE), '192.0.2.7', 0)


def test_ctrl_c_ends_it(tmp_path, capsys, monkeypatch):
    study = study_of(tmp_path / 'study', {'full': [0.5]})

    def interrupted(self, poll_interval):
        raise KeyboardInterrupt

    monkeypatch.setattr(server.ReportServer, 'serve_forever', interrupted)
    assert main(['report', str(study), '--serve', '--port', '0']) == 0
    out, err = capsys.readouterr()
    assert re.match(r'the report is at http://127\.0\.0\.1:\d+/ and renews itself', out)
    assert err == ''
    assert not (study / 'report.html').exists()


# -- renewal ---------------------------------------------------------------------------------------


def test_the_page_is_rendered_anew_when_a_run_goes_on(tmp_path):
    study = study_of(tmp_path / 'study', {'full': [0.5, None]})
    renewal = Renewal([study], seconds=3600)
    renewal.start()
    first = renewal.edition
    assert b'1 of 2 runs have finished' in first.page and first.version.encode() in first.page
    assert b"connect-src 'self'" in first.page
    assert not renewal.renew() and renewal.edition is first
    finish(study / 'runs/full-s1', {'score': 0.6})
    assert renewal.renew()
    assert b'2 of 2 runs have finished' in renewal.edition.page
    assert renewal.edition.version != first.version
    # A study that cannot be read leaves the last page, and says why.
    (study / 'plan.json').write_text('{')
    assert renewal.renew()
    assert b'2 of 2 runs have finished' in renewal.edition.page
    assert 'plan.json is damaged' in renewal.edition.error
    renewal.stop()


def test_stamps_notice_every_file_that_is_shown(tmp_path):
    study = study_of(tmp_path / 'study', {'full': [0.5]})
    seen = {stamp_folders([study])}
    for name in (
        'plan.json',
        'study.yaml',
        'runs/full-s0/status.json',
        'runs/full-s0/metrics.jsonl',
    ):
        path = study / name
        path.write_text(path.read_text() + '\n')
        seen.add(stamp_folders([study]))
    (study / 'runs/full-s0/pictures').mkdir()
    seen.add(stamp_folders([study]))
    assert len(seen) == 6
    assert stamp_folders([study]) in seen
