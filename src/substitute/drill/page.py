"""placeholder"""


def page(result):
    return "x"
