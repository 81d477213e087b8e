import { mkdir, readFile, stat, utimes, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeProtectedHeader, jwtVerify } from 'jose'
import { afterAll, beforeAll, beforeEach, describe, expect, test } from 'vitest'
import { writeStaticFiles } from '../../src/registrar/static-files.ts'
import { oauthError } from '../../src/registrar/token-exchange.ts'
import { enrolledRow, NOW_MS } from './enrolled.ts'
import {
  identityToken as identityTokenAt,
  OTHER_KEY,
  skJwk,
  type TokenParts,
  TRUST_DOMAIN,
  tokenParts,
  URL_OF_REGISTRAR,
} from './token-parts.ts'

const AUDIENCES = `[[audience]]
name = "sts.example"
[[audience]]
name = "es.example"
algorithm = "ES256"
[[audience]]
name = "mesh.example"
algorithm = "ES256"
formats = ["jwt_svid", "id_token", "wit"]
[[audience]]
name = "uid.example"
formats = ["id_token", "jwt_svid"]
subject = "uid"
[[audience]]
name = "unit.example"
formats = ["id_token", "jwt_svid"]
subject = "unit"
[[audience]]
name = "anchored.example"
anchored = true
[[audience]]
name = "ec2.example"
dialects = ["ec2"]
[[audience]]
name = "named.example"
instances = ["aliyun:i-two", "aliyun:i-on*"]
[[audience]]
name = "others.example"
instances = ["aliyun:i-o", "ec2:*"]
`

let parts: TokenParts
beforeAll(async () => {
  parts = await tokenParts(AUDIENCES)
})
afterAll(() => parts[Symbol.asyncDispose]())
beforeEach(async () => {
  parts.nowMs = NOW_MS
  await parts.write()
})

const identityToken = (claims = {}, key?: Parameters<typeof identityTokenAt>[2]) =>
  identityTokenAt(parts.nowMs, claims, key)
const exchanged = (form: Record<string, string>, text = '') => parts.exchange(form, { text })
const PREFIX = 'urn:ietf:params:oauth:token-type:'
const withCode = (code: string) => expect.objectContaining({ code })

describe('a token for an identity token', () => {
  test.each([
    ['sts.example', 'RS256'],
    ['es.example', 'ES256'],
  ])('for %s: %s, by keys that are published', async (audience, algorithm) => {
    const given = await exchanged({ audience, subject_token: await identityToken() })
    expect(given).toMatchObject({
      issued_token_type: `${PREFIX}id_token`,
      token_type: 'N_A',
      expires_in: 900,
    })
    const checked = { issuer: URL_OF_REGISTRAR, audience, currentDate: new Date(parts.nowMs) }
    const { payload } = await jwtVerify(given.access_token, parts.keysAt('/jwks.json'), checked)
    const { iid, instanceId } = enrolledRow()
    expect(payload).toMatchObject({
      sub: `aliyun:${instanceId}`,
      iid,
      dialect: 'aliyun',
      instance_id: instanceId,
      exp: Math.floor(parts.nowMs / 1000) + 900,
    })
    expect(decodeProtectedHeader(given.access_token)).toMatchObject({ alg: algorithm, typ: 'JWT' })
  })

  test('is given once, and counted for its instance and audience', async () => {
    const subject = await identityToken()
    const before = (await parts.repository.uses(enrolledRow().iid))[1]?.tokens ?? 0
    await exchanged({ subject_token: subject })
    await expect(exchanged({ subject_token: subject })).rejects.toEqual(withCode('REGISTRAR_USED'))
    const other = { subject_token: subject, audience: 'es.example' }
    await expect(exchanged(other)).rejects.toEqual(withCode('REGISTRAR_USED'))
    const uses = await parts.repository.uses(enrolledRow().iid)
    expect(uses).toContainEqual({ audience: 'sts.example', tokens: before + 1, lastAtMs: NOW_MS })
  })

  test('of two requests with one identity token one is answered', async () => {
    const subject = await identityToken()
    const settled = await Promise.allSettled(
      [1, 2, 3].map(() => exchanged({ subject_token: subject })),
    )
    expect(settled.filter(({ status }) => status === 'fulfilled')).toHaveLength(1)
  })
})

describe('formats', () => {
  const given = async (form: Record<string, string>, claims = {}) =>
    exchanged({ ...form, subject_token: await identityToken(claims) })
  const spiffeId = `spiffe://${TRUST_DOMAIN}/aliyun/i-one`

  test.each([
    [{}, 'jwt_svid'],
    [{ format: 'jwt_svid' }, 'jwt_svid'],
    [{ requested_token_type: `${PREFIX}jwt` }, 'jwt_svid'],
    [{ requested_token_type: `${PREFIX}id_token` }, 'id_token'],
    [{ format: 'id_token', requested_token_type: `${PREFIX}id_token` }, 'id_token'],
    [{ format: 'wit' }, 'wit'],
    [{ format: 'wit', requested_token_type: `${PREFIX}jwt` }, 'wit'],
  ])('%j of three is %s', async (form, format) => {
    const { access_token: token, ...answer } = await given({ audience: 'mesh.example', ...form })
    const { typ } = decodeProtectedHeader(token)
    const type = format === 'id_token' ? 'id_token' : 'jwt'
    expect(answer).toEqual({
      ...{ issued_token_type: `${PREFIX}${type}`, token_type: 'N_A', expires_in: 900 },
    })
    expect(typ).toBe(format === 'wit' ? 'wit+jwt' : 'JWT')
  })

  test('a JWT-SVID names a SPIFFE ID, and is verified by the bundle and by discovery', async () => {
    const { access_token: token } = await given({ audience: 'mesh.example', format: 'jwt_svid' })
    const options = { audience: 'mesh.example', currentDate: new Date(NOW_MS) }
    for (const path of ['/spiffe/bundle.json', '/jwks.json']) {
      const keys = parts.keysAt(path, 'jwt-svid')
      const { payload, protectedHeader } = await jwtVerify(token, keys, options)
      expect(Object.keys(protectedHeader).toSorted()).toEqual(['alg', 'kid', 'typ'])
      const iat = NOW_MS / 1000
      const times = { iat, exp: iat + 900 }
      const jti = expect.any(String)
      const iss = URL_OF_REGISTRAR
      expect(payload).toEqual({
        iss,
        sub: spiffeId,
        aud: 'mesh.example',
        ...times,
        jti,
        status: expect.any(Object),
      })
    }
  })

  test('a WIT has SK in it, and is signed by keys that no ID token is signed by', async () => {
    const { access_token: token } = await given({ audience: 'mesh.example', format: 'wit' })
    const options = { typ: 'wit+jwt', currentDate: new Date(NOW_MS) }
    const issuer = `${URL_OF_REGISTRAR}/wit`
    const wit = { ...options, issuer, subject: spiffeId }
    const { payload } = await jwtVerify(token, parts.keysAt('/wit/jwks.json'), wit)
    expect(payload.cnf).toEqual({ jwk: { ...skJwk, alg: 'ES256' } })
    expect(payload).not.toHaveProperty('aud')
    await expect(jwtVerify(token, parts.keysAt('/jwks.json'), options)).rejects.toThrow()
    expect(parts.document('/.well-known/oauth-authorization-server/wit')).toMatchObject({
      issuer,
      jwks_uri: `${URL_OF_REGISTRAR}/wit/jwks.json`,
    })
    const { access_token: other } = await given({ audience: 'mesh.example', format: 'id_token' })
    await expect(jwtVerify(other, parts.keysAt('/wit/jwks.json'))).rejects.toThrow()
  })

  test('each key of the SPIFFE bundle is for one kind of SVID', () => {
    expect(parts.document('/spiffe/bundle.json')).toMatchObject({
      spiffe_sequence: expect.any(Number),
      spiffe_refresh_hint: expect.any(Number),
      keys: expect.arrayContaining([
        expect.objectContaining({ use: 'jwt-svid', kty: 'RSA', kid: expect.any(String) }),
        expect.objectContaining({ use: 'jwt-svid', kty: 'EC' }),
        expect.objectContaining({ use: 'wit-svid', kty: 'EC' }),
      ]),
    })
  })

  test.each([
    ['uid.example', { uid: 1000 }, 'aliyun:i-one:uid:1000', '/uid/1000'],
    ['uid.example', { uid: 0, unit: 'a.service' }, 'aliyun:i-one:uid:0', '/uid/0'],
    ['unit.example', { unit: 'app.service' }, 'aliyun:i-one:unit:app.service', '/unit/app.service'],
    [
      'unit.example',
      { unit: 'a_b@c:\\x2d.service' },
      'aliyun:i-one:unit:a_b@c:\\x2d.service',
      '/unit/a_5fb_40c_3a_5cx2d.service',
    ],
    ['sts.example', { uid: 1000, unit: 'app.service' }, 'aliyun:i-one', undefined],
  ])('%s, asked for by %j: %s', async (audience, who, sub, path) => {
    const options = { subject: sub, currentDate: new Date(NOW_MS) }
    const { access_token: token } = await given({ audience }, who)
    await jwtVerify(token, parts.keysAt('/jwks.json'), options)
    if (path === undefined) return
    const { access_token: svid } = await given({ audience, format: 'jwt_svid' }, who)
    await jwtVerify(svid, parts.keysAt('/jwks.json'), {
      ...options,
      subject: `${spiffeId}${path}`,
    })
  })

  test.each([
    ['uid.example', {}, 'REGISTRAR_SUBJECT'],
    ['uid.example', { unit: 'a.service' }, 'REGISTRAR_SUBJECT'],
    ['unit.example', { uid: 1000 }, 'REGISTRAR_SUBJECT'],
    ['unit.example', { unit: `${'a'.repeat(240)}.service` }, 'REGISTRAR_SUBJECT'],
    ['unit.example', { unit: 'a b' }, 'VERIFY_TOKEN'],
    ['unit.example', { unit: '' }, 'VERIFY_TOKEN'],
    ['uid.example', { uid: -1 }, 'VERIFY_TOKEN'],
    ['uid.example', { uid: '1000' }, 'VERIFY_TOKEN'],
  ])('%s gives nothing for %j', async (audience, who, code) => {
    await expect(given({ audience }, who)).rejects.toEqual(withCode(code))
  })
})

test('an instance has eight signatures at a time, and a refused one leaves its identity token unused', async () => {
  const { promise, resolve } = Promise.withResolvers<void>()
  parts.mayIssue = promise
  const asked = Array.from({ length: 8 }, async () =>
    exchanged({ subject_token: await identityToken() }),
  )
  await expect.poll(() => parts.signing.of(enrolledRow().iid)).toBe(8)
  const late = await identityToken()
  await expect(exchanged({ subject_token: late })).rejects.toEqual(withCode('REGISTRAR_BUSY'))
  resolve()
  expect(await Promise.all(asked)).toHaveLength(8)
  expect(await exchanged({ subject_token: late })).toMatchObject({ token_type: 'N_A' })
  expect(parts.signing.size).toBe(0)
})

test('the grant of the JWT bearer gives the same (RFC 7523)', async () => {
  const grant_type = 'urn:ietf:params:oauth:grant-type:jwt-bearer'
  const bearer = (assertion: Record<string, string>) => {
    const form = new URLSearchParams({ grant_type, audience: 'sts.example', ...assertion })
    return parts.exchangeForm(form.toString())
  }
  const assertion = await identityToken()
  const { access_token: token } = await bearer({ assertion })
  const { payload } = await jwtVerify(token, parts.keysAt('/jwks.json'), {
    currentDate: new Date(NOW_MS),
  })
  expect(payload.sub).toBe('aliyun:i-one')
  await expect(bearer({ assertion })).rejects.toEqual(withCode('REGISTRAR_USED'))
  await expect(bearer({})).rejects.toEqual(withCode('REGISTRAR_REQUEST'))
  const fresh = await identityToken()
  await expect(bearer({ subject_token: fresh })).rejects.toEqual(withCode('REGISTRAR_REQUEST'))
  await expect(bearer({ assertion: fresh, subject_token: fresh })).rejects.toEqual(
    withCode('REGISTRAR_REQUEST'),
  )
})

describe('which instance may ask for which audience', () => {
  const ask = async (audience: string) =>
    exchanged({ audience, subject_token: await identityToken() })

  test.each(['sts.example', 'named.example', 'anchored.example'])(
    '%s: it may',
    async (audience) => {
      await ask(audience)
    },
  )

  test.each(['ec2.example', 'others.example'])('%s: it may not', async (audience) => {
    await expect(ask(audience)).rejects.toEqual(withCode('REGISTRAR_NOT_ALLOWED'))
  })

  test('anchored.example: not one whose TPM nothing vouches for', async () => {
    await parts.write({ anchor: 'none' })
    await expect(ask('anchored.example')).rejects.toEqual(withCode('REGISTRAR_NOT_ALLOWED'))
    await ask('sts.example')
  })
})

describe('is refused', () => {
  test.each([
    [
      'for another audience than the registrar',
      { aud: 'https://other.example' },
      'VERIFY_TOKEN_CLAIMS',
    ],
    ['of another instance id', { sub: 'i-two' }, 'VERIFY_TOKEN_CLAIMS'],
    ['that has expired', { exp: Math.floor(NOW_MS / 1000) - 1 }, 'VERIFY_TOKEN_CLAIMS'],
    ['that lives for a day', { exp: Math.floor(NOW_MS / 1000) + 86_400 }, 'VERIFY_TOKEN_CLAIMS'],
    ['of nobody who is enrolled', { iid: 'ff'.repeat(16) }, 'ENROL_UNKNOWN'],
    ['with an iid that is none', { iid: '../../etc' }, 'VERIFY_TOKEN'],
  ])('an identity token %s', async (_name, claims, code) => {
    const subject = await identityToken(claims)
    await expect(exchanged({ subject_token: subject })).rejects.toEqual(withCode(code))
  })

  test('an identity token of another key, and what is none', async () => {
    const forged = await identityToken({}, OTHER_KEY.privateKey)
    await expect(exchanged({ subject_token: forged })).rejects.toEqual(
      withCode('VERIFY_TOKEN_SIGNATURE'),
    )
    for (const none of ['', 'a.b.c', 'x'.repeat(5000), `${'.'.repeat(4000)}`]) {
      await expect(exchanged({ subject_token: none })).rejects.toEqual(withCode('VERIFY_TOKEN'))
    }
  })

  test.each([
    ['held', 'ENROL_HELD'],
    ['suspended', 'ENROL_SUSPENDED'],
    ['evicted', 'ENROL_UNKNOWN'],
    ['banned', 'ENROL_BANNED'],
  ] as const)('an instance that is %s', async (state, code) => {
    await parts.write({ state })
    const subject = await identityToken()
    await expect(exchanged({ subject_token: subject })).rejects.toEqual(withCode(code))
  })

  test('an instance whose enrolment is over, whatever its key still signs', async () => {
    parts.nowMs = NOW_MS + 86_400_000
    const subject = await identityToken()
    await expect(exchanged({ subject_token: subject })).rejects.toEqual(withCode('ENROL_EXPIRED'))
  })

  test.each([
    ['an audience that is not configured', { audience: 'sts.example ' }, '', 'REGISTRAR_AUDIENCE'],
    ['another grant', { grant_type: 'client_credentials' }, '', 'REGISTRAR_GRANT'],
    ['another type of subject', { subject_token_type: `${PREFIX}saml2` }, '', 'REGISTRAR_REQUEST'],
    [
      'another type wanted',
      { requested_token_type: `${PREFIX}access_token` },
      '',
      'REGISTRAR_FORMAT',
    ],
    ['another format wanted', { format: 'wit' }, '', 'REGISTRAR_FORMAT'],
    ['a format that is none', { format: 'saml' }, '', 'REGISTRAR_FORMAT'],
    [
      'a format and another type',
      { format: 'id_token', requested_token_type: `${PREFIX}jwt` },
      '',
      'REGISTRAR_FORMAT',
    ],
    ['two formats', { format: 'id_token' }, '&format=wit', 'REGISTRAR_REQUEST'],
    ['an assertion besides', { assertion: 'x' }, '', 'REGISTRAR_REQUEST'],
    ['two audiences', {}, '&audience=other', 'REGISTRAR_REQUEST'],
    ['an actor', { actor_token: 'x' }, '', 'REGISTRAR_REQUEST'],
    ['a scope', { scope: 'admin' }, '', 'REGISTRAR_REQUEST'],
    ['what is no ASCII, in no escape', {}, '&other=é%e4', 'REGISTRAR_REQUEST'],
  ])('a request with %s', async (_name, form, more, code) => {
    const subject = await identityToken()
    await expect(exchanged({ subject_token: subject, ...form }, more)).rejects.toEqual(
      withCode(code),
    )
    // The identity token is still good.
    await exchanged({ subject_token: subject })
  })

  test('by the words of OAuth', () => {
    expect(oauthError('REGISTRAR_AUDIENCE')).toBe('invalid_target')
    expect(oauthError('REGISTRAR_GRANT')).toBe('unsupported_grant_type')
    expect(oauthError('VERIFY_TOKEN_CLAIMS')).toBe('invalid_request')
  })
})

test('static files are written where they differ, readable by all, and never in part', async () => {
  const at = join(parts.directory, 'public')
  await mkdir(at)
  await writeFile(join(at, 'other.json'), 'left alone')
  writeStaticFiles(at, { '/.well-known/one': { a: 1 }, '/two.json': { b: 2 } })
  expect(JSON.parse(await readFile(join(at, '.well-known/one'), 'utf8'))).toEqual({ a: 1 })
  const path = join(at, 'two.json')
  expect((await stat(path)).mode & 0o777).toBe(0o644)
  await utimes(path, 1, 1)
  writeStaticFiles(at, { '/two.json': { b: 2 } })
  expect((await stat(path)).mtimeMs).toBe(1000)
  writeStaticFiles(at, { '/two.json': { b: 3 } })
  expect(JSON.parse(await readFile(path, 'utf8'))).toEqual({ b: 3 })
  expect(() => writeStaticFiles(path, { '/x': {} })).toThrow(withCode('FILE_UNUSABLE'))
})
