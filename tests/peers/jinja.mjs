// SPDX-License-Identifier: GPL-3.0-or-later
// Chat templates rendered by our command line against the npm package `@huggingface/jinja`.
import fs from 'node:fs';
import path from 'node:path';
import { Template } from '@huggingface/jinja';
import { check, cli, demo, expect, finish, root, scratch, shared_data } from './common.mjs';

const folder = path.join(root, 'tests', 'reference', 'chat');
const conversations = JSON.parse(fs.readFileSync(path.join(folder, 'conversations.json'), 'utf8'));
const templates = fs.readdirSync(folder).filter((name) => name.endsWith('.jinja')).map((name) => [name, fs.readFileSync(path.join(folder, name), 'utf8')]);
if (shared_data)
  for (const name of fs.readdirSync(path.join(shared_data, 'tokenizers'))) {
    const config = path.join(shared_data, 'tokenizers', name, 'tokenizer_config.json');
    const text = fs.existsSync(config) ? JSON.parse(fs.readFileSync(config, 'utf8')).chat_template : null;
    if (text) templates.push([`${name} (published)`, text]);
  }

const tokens = { bos_token: '<s>', eos_token: '</s>', unk_token: '<unk>' };

function ours(template, conversation) {
  const file = path.join(scratch, 'template.jinja');
  const messages = path.join(scratch, 'messages.json');
  fs.writeFileSync(file, template);
  const { messages: list, tools, ...variables } = conversation;
  fs.writeFileSync(messages, JSON.stringify({ messages: list, tools: tools ?? null, chat_template_kwargs: { ...tokens, ...variables } }));
  try {
    return cli('tokenize', demo, '--chat', messages, '--chat-template', file).rendered;
  } catch {
    return null; // refused
  }
}

function theirs(template, conversation) {
  const variables = { tools: null, documents: null, add_generation_prompt: true, ...tokens, ...conversation };
  try {
    return new Template(template).render(variables);
  } catch {
    return null;
  }
}

// Where the package leaves Jinja itself (it adds lists to texts, and takes the role of a message that
// is not there); tests/golden/chat.json holds what Jinja says.
const known = new Set(JSON.parse(fs.readFileSync(path.join(root, 'tests', 'peers', 'jinja_differences.json'), 'utf8')));

for (const [name, template] of templates)
  await check(`${name}: rendered as npm @huggingface/jinja`, async () => {
    let same = 0;
    let refused = 0;
    let left_out = 0;
    for (const [title, conversation] of Object.entries(conversations)) {
      const mine = ours(template, conversation);
      const other = theirs(template, conversation);
      if (mine !== other && known.has(`${name}, ${title}`)) ++left_out;
      else if (mine === other) mine === null ? ++refused : ++same;
      else expect(false, `${title}\nours:   ${JSON.stringify(mine)?.slice(0, 600)}\ntheirs: ${JSON.stringify(other)?.slice(0, 600)}`);
    }
    const more = [refused ? `${refused} refused by both` : '', left_out ? `${left_out} where the package is not Jinja` : ''];
    return [`${same} conversations the same`, ...more.filter(Boolean)].join(', ');
  });
await finish();
