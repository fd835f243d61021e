# Runs what unittest finds; the arguments are its own, such as -v.
import os
import sys
import unittest


def found():
    suite = unittest.TestSuite()
    for folder in (".", "test", "tests"):
        # One that is a package is found from above.
        if folder != "." and not (
            os.path.isdir(folder) and not os.path.exists(os.path.join(folder, "__init__.py"))
        ):
            continue
        for pattern in ("test*.py", "*_test.py"):
            suite.addTests(unittest.TestLoader().discover(folder, pattern, os.path.abspath(folder)))
    return suite


suite = found()
if suite.countTestCases() == 0:
    sys.exit(
        "no tests were found: unittest looks for classes of unittest.TestCase in test*.py and *_test.py; "
        "functions test_... need pytest, which this Python does not have"
    )
verbosity = 2 if {"-v", "--verbose"} & set(sys.argv[1:]) else 1
failfast = bool({"-f", "--failfast"} & set(sys.argv[1:]))
result = unittest.TextTestRunner(verbosity=verbosity, failfast=failfast).run(suite)
sys.exit(0 if result.wasSuccessful() else 1)
