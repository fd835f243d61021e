import assert from "node:assert/strict";
import { test } from "node:test";

import { Client } from "fermata/testing";

import { handle } from "./main.ts";

test("the caller is greeted", async () => {
  const client = new Client(handle);
  const answer = await client.post("/", { body: "you" });
  assert.equal(await answer.text(), "Hello, you!\n");
  assert.equal(await (await client.get()).text(), "Hello, world!\n");
});
