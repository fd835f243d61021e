import assert from "node:assert/strict";
import { test } from "node:test";

import { Client } from "fermata/testing";

import { handle } from "./main.mjs";

test("the caller is greeted", async () => {
  const client = new Client(handle);
  const answer = await client.post("/", { body: "you" });
  assert.equal(await answer.text(), "Hello, you! Your name has 3 B.\n");
  assert.match(await (await client.get()).text(), /Hello, world!/);
});
