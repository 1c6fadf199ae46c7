// cli: the command name in help texts and advice, by the way the program was started.
import assert from 'node:assert/strict';
import { execFileSync } from 'node:child_process';
import { test } from 'node:test';
import { commandName } from './command-name.ts';

const PATH = '/usr/local/bin:/usr/bin';

test('a checkout is called by the path that was typed', () => {
  assert.equal(commandName({ BELFRY_CALLED_AS: './belfry', PATH }), './belfry');
  assert.equal(commandName({ BELFRY_CALLED_AS: '../clone/belfry' }), '../clone/belfry');
});

test('a link in a folder of PATH is called by its name alone', () => {
  assert.equal(commandName({ BELFRY_CALLED_AS: '/usr/local/bin/belfry', PATH }), 'belfry');
  assert.equal(commandName({ BELFRY_CALLED_AS: '/opt/belfry', PATH }), '/opt/belfry');
});

test('an installed package is called belfry, and npx belfry under npx', () => {
  assert.equal(commandName({ PATH }), 'belfry');
  assert.equal(commandName({ PATH, npm_command: 'run-script' }), 'belfry');
  assert.equal(commandName({ PATH, npm_command: 'exec' }), 'npx belfry');
});

test('a path that a shell would take apart is quoted', () => {
  const path = "./it's here/$HOME/belfry";
  const name = commandName({ BELFRY_CALLED_AS: path, PATH });
  assert.equal(execFileSync('/bin/sh', ['-c', `printf %s ${name}`], { encoding: 'utf8' }), path);
});
