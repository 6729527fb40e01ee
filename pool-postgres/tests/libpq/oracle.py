"""Asks libpq what it makes of connection strings: one JSON object per line in, one out. Connects to nobody who answers: to be run in a network of its own."""

import ctypes
import json
import os
import sys


class Option(ctypes.Structure):
    _fields_ = [(name, ctypes.c_char_p) for name in ("keyword", "envvar", "compiled", "val", "label", "dispchar")] + [("dispsize", ctypes.c_int)]


def load(path):
    libpq = ctypes.CDLL(path)
    for name in ("PQconnectStart",):
        getattr(libpq, name).restype = ctypes.c_void_p
    for name in ("PQerrorMessage", "PQuser", "PQdb", "PQpass"):
        function = getattr(libpq, name)
        function.restype, function.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    libpq.PQconninfo.restype, libpq.PQconninfo.argtypes = ctypes.POINTER(Option), [ctypes.c_void_p]
    libpq.PQconninfoFree.argtypes = [ctypes.POINTER(Option)]
    libpq.PQfinish.argtypes = libpq.PQstatus.argtypes = [ctypes.c_void_p]
    libpq.PQconnectdb.restype = libpq.PQexec.restype = ctypes.c_void_p
    libpq.PQexec.argtypes = [ctypes.c_void_p, ctypes.c_char_p]
    libpq.PQgetvalue.restype, libpq.PQgetvalue.argtypes = ctypes.c_char_p, [ctypes.c_void_p, ctypes.c_int, ctypes.c_int]
    libpq.PQclear.argtypes = [ctypes.c_void_p]
    return libpq


def text(value):
    return None if value is None else value.decode("utf-8", "replace")


def surround(env):
    for name in list(os.environ):
        if name.startswith("PG") or name == "HOME":
            del os.environ[name]
    os.environ.update(env)


def run(libpq, question):
    """The answer of a server to a query, in one field."""
    surround(question["env"])
    connection = libpq.PQconnectdb(question["text"].encode())
    answer = {"error": text(libpq.PQerrorMessage(connection)), "value": None}
    if libpq.PQstatus(connection) == 0:
        result = libpq.PQexec(connection, question["query"].encode())
        answer["value"] = text(libpq.PQgetvalue(result, 0, 0))
        libpq.PQclear(result)
    libpq.PQfinish(connection)
    return answer


def ask(libpq, question):
    surround(question["env"])
    connection = libpq.PQconnectStart(question["text"].encode())
    options, values = libpq.PQconninfo(connection), {}
    index = 0
    while options[index].keyword:
        values[text(options[index].keyword)] = text(options[index].val)
        index += 1
    libpq.PQconninfoFree(options)
    answer = {
        "bad": libpq.PQstatus(connection) == 1,
        "error": text(libpq.PQerrorMessage(connection)),
        "user": text(libpq.PQuser(connection)),
        "database": text(libpq.PQdb(connection)),
        "password": text(libpq.PQpass(connection)),
        "values": values,
    }
    libpq.PQfinish(connection)
    return answer


def main():
    libpq = load(sys.argv[1])
    print(json.dumps({"version": libpq.PQlibVersion()}), flush=True)
    for line in sys.stdin:
        question = json.loads(line)
        answer = run(libpq, question) if "query" in question else ask(libpq, question)
        print(json.dumps(answer), flush=True)


main()
