import unittest

from fermata.testing import Client

from main import handle


class Greeting(unittest.TestCase):
    def test_the_caller_is_greeted(self):
        client = Client(handle)
        answer = client.post(body="you").text()
        self.assertEqual(answer, "Hello, you! Your name has 3 Bytes.\n")
        self.assertIn("Hello, world!", client.get().text())
