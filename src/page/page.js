// The page's own behaviour: language, filters, the button.

(() => {
  const page = document;
  const find = (selector) => page.querySelector(selector);
  const words = JSON.parse(find('#data').textContent).words;
  const both = (element, key, parts = {}) => {
    element.replaceChildren(...LANGUAGES.map((lang) => {
      const span = page.createElement('span');
      const own = Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, part[lang] ?? String(part)]));
      span.lang = lang;
      span.textContent = text_of(words, lang, key, own);
      return span;
    }));
    return element;
  };

  const speak = () => {
    const lang = find('input[name="language"]:checked').value;
    page.documentElement.lang = lang;
    page.title = words[lang]['folder.title'];
  };
  page.querySelectorAll('input[name="language"]').forEach((input) => input.addEventListener('change', speak));
  speak();

  // A number shows the entries that it counts.
  const check = new Check(page);
  const entries = [...page.querySelectorAll('.entries > li')];
  const show = (chosen) => {
    const count = entries.filter((entry) => { entry.hidden = chosen !== null && !chosen.has(entry); return !entry.hidden; }).length;
    find('#filtered').hidden = chosen === null;
    find('#filtered-count').textContent = grouped(count);
  };
  const counted = () => {
    if (check.rows.length > 0) return;
    check.asked = new Map();
    for (const element of entries) {
      try {
        const entry = entry_of(unbase64(element.querySelector('.leaf').textContent));
        const hash = unbase64url(element.querySelector('.hash').textContent);
        check.rows.push({ ...entry, hash, element, ...check.count({ ...entry, hash }) });
      } catch { /* the button says so */ }
    }
  };
  page.addEventListener('click', (event) => {
    const link = event.target.closest('a[data-filter]');
    if (!link) return;
    event.preventDefault();
    counted();
    show(new Set(check.chosen(JSON.parse(link.dataset.filter)).map((row) => row.element)));
    find('#entries').focus();
    find('#entries').scrollIntoView();
  });
  find('#unfilter').addEventListener('click', () => { show(null); find('#entries').focus(); });
  page.addEventListener('click', (event) => {
    const link = event.target.closest('a[data-copy]');
    if (link) show(null);
  });

  find('#given-key').addEventListener('input', (event) => {
    const given = event.target.value.trim();
    const compared = find('#compared');
    if (given === '') { compared.replaceChildren(); return; }
    const is_same = given === find('#authority').textContent;
    both(compared, is_same ? 'folder.js.same_key' : 'folder.js.other_key');
    compared.className = is_same ? 'good' : 'bad';
  });

  const verdict = (kind, key, parts) => {
    const line = both(page.createElement('p'), key, parts);
    line.className = kind;
    find('#verdict').replaceChildren(line);
    find('.check').classList.remove('good', 'bad');
    if (kind !== 'unknown') find('.check').classList.add(kind);
  };
  const sentence = ({ key, parts }) => Object.fromEntries(LANGUAGES.map((lang) => [lang, text_of(words, lang, key,
    Object.fromEntries(Object.entries(parts).map(([name, part]) => [name, String(part)])))]));
  const told = (done) => {
    const list = find('#findings');
    list.replaceChildren(...done.findings.slice(0, 100).map((finding) => both(page.createElement('li'), finding.key, finding.parts)));
    page.querySelectorAll('.wrong').forEach((element) => element.classList.remove('wrong'));
    done.findings.forEach(({ element }) => element?.classList.add('wrong'));
    if (done.findings.length > 0) {
      verdict('bad', 'folder.js.bad', { count: done.findings.length, first: sentence(done.findings[0]) });
    } else if (!done.signatures.known) verdict('unknown', 'folder.js.partly');
    else verdict('good', 'folder.js.good', { entries: done.rows.length, signatures: done.signatures.count });
  };
  find('#verify').addEventListener('click', async (event) => {
    const button = event.currentTarget;
    if (!globalThis.crypto?.subtle) { verdict('unknown', 'folder.js.no_crypto'); return; }
    button.setAttribute('aria-disabled', 'true');
    verdict('unknown', 'folder.js.running');
    try { told(await new Check(page).run()); } catch (error) {
      verdict('bad', 'folder.js.bad', { count: 1, first: sentence({ key: 'folder.js.data', parts: { what: error.message } }) });
    }
    button.removeAttribute('aria-disabled');
  });
})();
