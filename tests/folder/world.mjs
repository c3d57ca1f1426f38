// A fresh demonstration, and the folders that its commune gives of two agreements.

import { spawn, spawnSync } from 'node:child_process';
import { openSync } from 'node:fs';
import path from 'node:path';
import { createInterface } from 'node:readline';

const START_MS = 180_000;

export class World {
  constructor(program, directory) {
    Object.assign(this, { program, directory, running: [] });
  }

  run(...args) {
    const out = spawnSync(this.program, ['--json', ...args], { encoding: 'utf8', timeout: START_MS, env: { ...process.env, PERRON_DIR: undefined } });
    if (out.status !== 0) throw new Error(`perron ${args.join(' ')}: ${out.stdout}${out.stderr}`);
    return out.stdout.split('\n').filter(Boolean).map((line) => JSON.parse(line));
  }

  dir(who) { return path.join(this.directory, 'demo', who); }

  async serve(who) {
    const log = openSync(path.join(this.directory, `${who}.log`), 'a');
    const child = spawn(this.program, ['--json', 'serve', '--dir', this.dir(who)], { stdio: ['ignore', 'pipe', log] });
    this.running.push(child);
    const [line] = await Promise.race([
      new Promise((done) => { createInterface({ input: child.stdout }).once('line', (first) => done([first])); }),
      new Promise((_, failed) => { child.once('exit', (code) => failed(new Error(`${who} doesn't serve: ${code}`))); }),
    ]);
    if (!line.includes('"serving"')) throw new Error(`${who} doesn't serve: ${line}`);
  }

  async stop() {
    for (const child of this.running.reverse()) {
      if (child.exitCode === null) {
        const ended = new Promise((done) => { child.once('exit', done); });
        child.kill('SIGTERM');
        await ended;
      }
    }
  }

  // The commune's folders: of the totals that it gives, with a suspension; and of the rows that it gets.
  async folders() {
    this.run('demo', '--dir', path.join(this.directory, 'demo'));
    for (const who of ['authority', 'commune', 'inter']) await this.serve(who);
    const listed = this.run('agreement', 'list', '--dir', this.dir('commune')).flat();
    const of = (dataset) => listed.filter((a) => a.dataset === dataset)
      .reduce((first, a) => (a.since < first.since ? a : first)).agreement;
    const [totals, rows] = [of('household_water'), of('building_water')];
    this.run('agreement', 'suspend', '--dir', this.dir('commune'), totals, '--reason', 'Contrôle <annuel> & "vérification"');
    const folder = (name, agreement) => {
      const out = path.join(this.directory, name);
      this.run('--lang', 'en', 'audit', 'folder', '--dir', this.dir('commune'), '--agreement', agreement, '--with-verifier', out);
      return out;
    };
    return { totals: folder('totals', totals), rows: folder('rows', rows) };
  }
}
