"""The version of the toy's samples."""

VERSION = 1
