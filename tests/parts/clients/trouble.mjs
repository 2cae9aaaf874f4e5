// A provider in trouble, before sessions that live: nobody loses one, and whoever has to wait is told so.
import { check, options, script, sleep } from '../part.mjs';
import { lives, people } from './person.mjs';

const given = options({ mcp: '', provider: '', life: '' });

await script(async () => {
  const all = await people(given.mcp, given.provider);
  const { control, session, refresh, call, attempt } = all;
  let one = await session('alice');

  for (const [what, fault] of Object.entries({
    'broken JSON': { token: { body: '{"access_token":' } },
    'HTML that says it is fine': { token: { type: 'text/html', body: '<html>' } },
    'JSON of the wrong type': { token: { type: 'text/plain', body: '{"error":"invalid_grant"}', status: 400 } },
    'nine megabytes': { token: { size: 9_000_000 } },
    'status 500': { token: { status: 500 } },
    'status 503 with a refusal inside': { token: { status: 503, body: '{"error":"invalid_grant"}' } },
    'status 429': { token: { status: 429 } },
    'a refusal of the gate': { token: { status: 401, body: '{"error":"invalid_client"}' } },
    'an ID token of somebody else': { claims: { sub: 'mallory' } },
    'an ID token for somebody else': { claims: { aud: 'another' } },
    'no connection at all': { away: true },
  })) {
    await control({ reset: true, ...fault });
    one = await lives(all, one, what);
  }
  await control({ reset: true });
  one = await lives(all, one, 'after all that');

  await control({ token: { delay: 3_000 } });
  one = await lives(all, one, 'an answer that takes three seconds');

  // The gate allows sixty seconds between clocks, in both directions; a token lives for a while before and after that.
  const life = Number(given.life);
  for (const [skew, good] of [[55, true], [-life - 45, true], [75, false], [-life - 75, false]]) {
    await control({ reset: true, skew });
    const { landed, error } = await attempt('bob');
    const came = landed?.searchParams.has('code') ?? false;
    check(came === good, `a clock that is ${skew} s off ${good ? 'is allowed for' : 'lets nobody in'}`, landed ? landed.search : error.message);
    if (!good) one = await lives(all, one, `who is in already, while it is ${skew} s off`);
  }
  await control({ reset: true });
  one = await lives(all, one, 'after the clock was set');

  // Away for longer than its tokens live.
  await control({ away: true });
  const away = await attempt('carol');
  check(!away.landed?.searchParams.has('code'), 'nobody gets in while it is away', away.landed?.search);
  const until = Date.now() + (life + 2) * 1_000;
  let [served, waited] = [0, null];
  while (Date.now() < until) {
    const answer = await refresh(one);
    if (answer.status === 200) {
      one = answer.next;
      served += 1;
      check(await call(one), `while it is away: let in, time ${served}`);
    } else {
      waited = answer;
      check(answer.status === 503 && answer.error === 'temporarily_unavailable' && answer.retry, 'who has to wait is told so', answer);
    }
    await sleep(1_000);
  }
  check(served > 0 && waited, 'tokens serve to their end, and then there are none', { served, waited });
  await control({ reset: true });
  // Whoever did not answer for so long is asked again every five seconds.
  const found = Date.now() + 10_000;
  let back = await refresh(one);
  while (back.status === 503 && Date.now() < found) {
    await sleep(500);
    back = await refresh(one);
  }
  check(back.status === 200, 'it is found again within ten seconds', back);
  one = await lives(all, back.next, 'when it is back');
  await lives(all, one, 'and as if nothing had been');
});
