"""Has libpq connect: one JSON string per line in, the connection string; one JSON object out."""

import ctypes
import json
import os
import sys


def load(path):
    libpq = ctypes.CDLL(path)
    libpq.PQconnectdb.restype, libpq.PQconnectdb.argtypes = ctypes.c_void_p, [ctypes.c_char_p]
    libpq.PQerrorMessage.restype, libpq.PQerrorMessage.argtypes = ctypes.c_char_p, [ctypes.c_void_p]
    libpq.PQfinish.argtypes = libpq.PQstatus.argtypes = libpq.PQsslInUse.argtypes = [ctypes.c_void_p]
    return libpq


def connect(libpq, text):
    connection = libpq.PQconnectdb(text.encode())
    answer = {
        "connected": libpq.PQstatus(connection) == 0,
        "encrypted": libpq.PQsslInUse(connection) == 1,
        "error": libpq.PQerrorMessage(connection).decode("utf-8", "replace"),
    }
    libpq.PQfinish(connection)
    return answer


def main():
    # Nothing of whoever runs this counts: neither variables nor files.
    for name in list(os.environ):
        if name.startswith("PG"):
            del os.environ[name]
    os.environ["HOME"] = sys.argv[2]
    libpq = load(sys.argv[1])
    print(json.dumps({"version": libpq.PQlibVersion()}), flush=True)
    for line in sys.stdin:
        print(json.dumps(connect(libpq, json.loads(line))), flush=True)


main()
