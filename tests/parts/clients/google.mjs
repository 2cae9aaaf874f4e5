// A provider like Google: no scope for offline access but a parameter, a refresh token with the consent only, which stays as it is,
// and the organization of an account in `hd`.
import { check, options, script } from '../part.mjs';
import { lives, people } from './person.mjs';

const given = options({ mcp: '', provider: '' });

await script(async () => {
  const all = await people(given.mcp, given.provider);
  const { control, seen, session, refresh, call, attempt } = all;
  await control({ once: true });
  let one = await session('carol');
  const { last } = await seen();
  check(last.scope === 'openid profile email', 'only what it knows is asked for', last.scope);
  check(last.access_type === 'offline' && last.prompt === 'consent', 'offline access is asked for by parameter, with the consent', last);
  check(last.hd === 'example.com', 'the organization is named', last);

  // A second login brings no refresh token, and none of the refreshes does.
  let other = await session('carol');
  for (let round = 1; round <= 3; round += 1) {
    [one, other] = [await lives(all, one, `first client, round ${round}`), await lives(all, other, `second client, round ${round}`)];
  }
  const quiet = await seen();
  check(quiet.refreshes === 6 && quiet.refused === 0, 'with the one refresh token that was given', quiet);

  for (const [user, what] of [['alice', 'an account of no organization'], ['mallory', 'an account of an organization of another name']]) {
    const { landed, error } = await attempt(user);
    const words = landed ? landed.searchParams.get('error') : error.message;
    check(landed ? words === 'access_denied' : /may not use this service/.test(words), `${what} is kept out`, words);
  }

  await control({ lose: 1 });
  one = await lives(all, one, 'an answer that was lost');
  await control({ revoke: true });
  const refused = await refresh(one);
  check(refused.status === 400 && refused.error === 'invalid_grant', 'access that was taken back ends the sessions', refused);
  check((await call(other)) === null, 'all of them');
  await control({ once: false });
  other = await lives(all, await session('carol'), 'with another consent');
  await lives(all, other, 'and ever after');
});
