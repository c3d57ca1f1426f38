// The auditor's folder in a browser: no request leaves, axe finds nothing, nothing overflows, the
// button is green on what is true and red on what was forged.
//
//     run.mjs PROGRAM WORK MODULES CHROMIUM

import { createRequire } from 'node:module';
import { mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { spawnSync } from 'node:child_process';
import path from 'node:path';
import { pathToFileURL } from 'node:url';
import { data_of, FORGERIES } from './forgeries.mjs';
import { World } from './world.mjs';

const [program, work, modules, chromium] = process.argv.slice(2);
const required = createRequire(path.join(modules, 'node_modules', 'x.js'));
const puppeteer = required('puppeteer-core');
const axe = readFileSync(required.resolve('axe-core/axe.min.js'), 'utf8');
const WAIT_MS = 60_000;
const FINGERS = { en: '#lang-en', fr: '#lang-fr' };
// Of A4 within its margins of 15 mm.
const PRINTED_PX = Math.floor((180 / 25.4) * 96);

let [passed, failed] = [0, 0];
const only = process.env.PERRON_FOLDER_ONLY;
async function test(name, work_) {
  if (only && !name.includes(only)) return;
  try {
    await work_();
    passed += 1;
    console.log(`test ${name} ... ok`);
  } catch (error) {
    failed += 1;
    console.log(`test ${name} ... FAILED\n${error.stack ?? error}`);
  }
}
const equal = (found, expected, what = '') => {
  if (JSON.stringify(found) !== JSON.stringify(expected)) throw new Error(`${what}: ${JSON.stringify(found)}, expected ${JSON.stringify(expected)}`);
};

// Opens a file; what it says on the console, and what it asks for, are findings.
async function opened(browser, file, work_) {
  const page = await browser.newPage();
  page.setDefaultTimeout(WAIT_MS);
  const [told, asked] = [[], []];
  page.on('console', (message) => told.push(message.text()));
  page.on('pageerror', (error) => told.push(String(error)));
  await page.setRequestInterception(true);
  const url = pathToFileURL(file).href;
  page.on('request', (request) => {
    if (request.url().split('#')[0] === url) { request.continue(); return; }
    asked.push(request.url());
    request.abort();
  });
  try {
    await page.goto(url);
    await work_(page);
    equal(told, [], 'on the console');
    equal(asked, [], 'asked for');
  } finally { await page.close(); }
}

const language = (page, lang) => page.$eval(FINGERS[lang], (input) => input.click());
async function verdict(page) {
  await page.waitForSelector('#verdict .good, #verdict .bad');
  return page.evaluate(() => ({
    good: Boolean(document.querySelector('#verdict .good')),
    text: document.querySelector('#verdict').innerText,
    findings: [...document.querySelectorAll('#findings li span[lang="en"]')].map((one) => one.textContent),
  }));
}

async function too_wide(page, width) {
  await page.$$eval('details', (all) => all.forEach((one) => { one.open = true; }));
  const found = await page.evaluate((most) => [...document.querySelectorAll('body *')].filter((element) => {
    const box = element.getBoundingClientRect();
    const is_seen = box.width > 0 && getComputedStyle(element).visibility !== 'hidden' && !element.closest('.skip');
    return is_seen && (box.right > most + 0.5 || element.scrollWidth > element.clientWidth + 1 && getComputedStyle(element).display !== 'inline' && element.clientWidth > 0);
  }).map((element) => `${element.tagName}.${element.className} ${element.getBoundingClientRect().right} ${element.scrollWidth}>${element.clientWidth}`).slice(0, 5), width);
  equal(found, [], `wider than ${width} px`);
  equal(await page.evaluate(() => document.documentElement.scrollWidth <= innerWidth), true, 'scrolls sideways');
}

async function accessible(browser, name, file) {
  for (const lang of ['en', 'fr']) {
    await test(`${name}: axe finds nothing, ${lang}`, () => opened(browser, file, async (page) => {
      await language(page, lang);
      await page.$$eval('details', (all) => all.forEach((one) => { one.open = true; }));
      await page.evaluate(axe);
      const { violations, passes } = await page.evaluate(() => globalThis.axe.run({ runOnly: ['wcag2a', 'wcag2aa', 'wcag21a', 'wcag21aa', 'best-practice'] }));
      equal(violations.map((v) => `${v.id}: ${v.nodes.slice(0, 3).map((n) => n.html).join(' ')}`), [], 'violations');
      if (passes.length < 15) throw new Error(`only ${passes.length} rules looked at anything`);
      equal(await page.evaluate(() => document.documentElement.lang), lang, 'language');
    }));
    for (const width of [360, 1280]) {
      await test(`${name}: nothing overflows at ${width} px, ${lang}`, () => opened(browser, file, async (page) => {
        await page.setViewport({ width, height: 800 });
        await language(page, lang);
        await too_wide(page, width);
      }));
    }
    await test(`${name}: printed, nothing is cut, ${lang}`, () => opened(browser, file, async (page) => {
      await page.setViewport({ width: PRINTED_PX, height: 1000 });
      await page.emulateMediaType('print');
      await language(page, lang);
      await too_wide(page, PRINTED_PX);
      const split = await page.$$eval('tr, .entries > li, .terms > li, figure', (all) => all.filter((one) => getComputedStyle(one).breakInside !== 'avoid').length);
      equal(split, 0, 'rows that may be split');
      equal(await page.$$eval('thead', (all) => all.every((one) => getComputedStyle(one).display === 'table-header-group')), true, 'heads repeat');
      const pdf = await page.pdf({ format: 'A4', preferCSSPageSize: true });
      equal(Buffer.from(pdf.slice(0, 5)).toString(), '%PDF-', 'a PDF');
    }));
  }
}

async function works(browser, name, file) {
  await test(`${name}: the button is reached and pressed by keyboard, and is green`, () => opened(browser, file, async (page) => {
    let reached = false;
    for (let tabs = 0; tabs < 10 && !reached; tabs += 1) {
      await page.keyboard.press('Tab');
      reached = await page.evaluate(() => document.activeElement.id === 'verify');
    }
    equal(reached, true, 'the button');
    await page.keyboard.press('Enter');
    const found = await verdict(page);
    equal(found.findings, [], 'findings');
    equal(found.good, true, found.text);
    equal(/[1-9]\d* entries, [1-9]\d* signatures/.test(found.text), true, found.text);
  }));
  await test(`${name}: the language is changed by keyboard`, () => opened(browser, file, async (page) => {
    await page.focus('#lang-en');
    await page.keyboard.press('ArrowLeft');
    equal(await page.evaluate(() => [document.documentElement.lang, document.title]), ['fr', 'Ce qui fut lu sous un accord'], 'language');
    equal(await page.evaluate(() => [...document.querySelectorAll('main [lang="en"]')].some((one) => one.checkVisibility())), false, 'English is seen');
  }));
  await test(`${name}: each number shows the entries that it counts`, () => opened(browser, file, async (page) => {
    const wrong = await page.evaluate(() => {
      const number = (text) => Number(text.replaceAll('\u202f', ''));
      const counts = [...document.querySelectorAll('a[data-filter]')].filter((one) => !/"left"/.test(one.dataset.filter));
      return counts.filter((link) => {
        link.click();
        const shown = [...document.querySelectorAll('.entries > li')].filter((one) => !one.hidden).length;
        return shown !== number(link.textContent);
      }).map((link) => link.outerHTML);
    });
    equal(wrong, [], 'numbers');
    equal(await page.evaluate(() => document.activeElement.id), 'entries', 'focus');
    await page.click('#unfilter');
    equal(await page.evaluate(() => document.querySelector('#filtered').hidden), true, 'all are shown');
  }));
  await test(`${name}: the authority’s key is compared`, () => opened(browser, file, async (page) => {
    const key = await page.$eval('#authority', (one) => one.textContent);
    await page.type('#given-key', key);
    equal(await page.$eval('#compared', (one) => one.className), 'good', 'the same key');
    await page.type('#given-key', 'x');
    equal(await page.$eval('#compared', (one) => one.className), 'bad', 'another key');
  }));
  await test(`${name}: without a script it is whole, in its language`, () => opened(browser, file, async (page) => {
    await page.setJavaScriptEnabled(false);
    await page.reload();
    equal(await page.$eval('h1', (one) => one.innerText), 'What was read under an agreement', 'title');
  }));
}

async function forged(browser, folders) {
  const html = readFileSync(path.join(folders.totals, 'index.html'), 'utf8');
  const second = readFileSync(path.join(folders.rows, 'index.html'), 'utf8');
  const { words } = data_of(html);
  mkdirSync(path.join(work, 'forged'));
  for (const [at, [name, forge, key]] of FORGERIES.entries()) {
    await test(`forged: ${name}`, async () => {
      const file = path.join(work, 'forged', `${at}.html`);
      writeFileSync(file, forge(html, second));
      await opened(browser, file, async (page) => {
        await page.click('#verify');
        const found = await verdict(page);
        equal(found.good, false, 'green');
        const [beginning] = words.en[key].split('{');
        const pattern = new RegExp(words.en[key].replace(/[.*+?^$()|[\]\\]/g, '\\$&').replace(/\{\w+\}/g, '.*'));
        if (!found.findings.some((one) => pattern.test(one))) throw new Error(`no “${beginning}”: ${found.findings.join(' | ')}`);
      });
    });
  }
}

const verified = (name, directory, expected) => test(name, () => {
  const out = spawnSync(path.join(path.dirname(program), 'perron-verify'), [directory], { encoding: 'utf8' });
  equal(out.status, expected, out.stdout + out.stderr);
});

const world = new World(program, work);
let browser;
try {
  const folders = await world.folders();
  await world.stop();
  browser = await puppeteer.launch({ executablePath: chromium, args: process.getuid() === 0 ? ['--no-sandbox'] : [] });
  for (const name of ['totals', 'rows']) {
    const file = path.join(folders[name], 'index.html');
    await verified(`${name}: perron-verify accepts the copy of the evidence`, path.join(folders[name], 'evidence'), 0);
    await works(browser, name, file);
    await accessible(browser, name, file);
  }
  await forged(browser, folders);
} catch (error) {
  failed += 1;
  console.log(error.stack ?? error);
} finally {
  await browser?.close();
  await world.stop();
}
console.log(`${passed} passed, ${failed} failed`);
process.exitCode = failed > 0 || passed === 0 ? 1 : 0;
