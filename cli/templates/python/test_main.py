import unittest

from fermata.testing import Client

from main import handle


class Greeting(unittest.TestCase):
    def test_the_caller_is_greeted(self):
        client = Client(handle)
        self.assertEqual(client.post(body="you").text(), "Hello, you!\n")
        self.assertEqual(client.get().text(), "Hello, world!\n")
