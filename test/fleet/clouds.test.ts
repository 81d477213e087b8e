import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { decodeJwt, decodeProtectedHeader } from 'jose'
import { afterAll, beforeAll, describe, expect, test } from 'vitest'
import { z } from 'zod'
import { scratch } from '../harness/metabind.ts'
import {
  CLOUD_DEMANDS,
  ENTRA_AUDIENCE,
  GOOGLE_AUDIENCE,
  type SeenByCloud,
} from './cloud-demands.ts'
import { type RegistrarProcess, startRegistrarProcess } from './registrar-process.ts'
import { ADMITS_SOFTWARE, enrolledSoftware } from './software-enrolled.ts'
import { identityTokenOfSoftware, type SoftwareInstance } from './software-instance.ts'

/** What clouds demand of an issuer, of a registrar that serves. No cloud was asked: they are their documents' words. */

const AUDIENCES = ['sts.aliyuncs.com', 'sts.amazonaws.com', GOOGLE_AUDIENCE, ENTRA_AUDIENCE]
const stack = new AsyncDisposableStack()
let registrar: RegistrarProcess
let instance: SoftwareInstance
beforeAll(async () => {
  const directory = stack.use(await scratch()).path
  const tables = AUDIENCES.map((name) => `[[audience]]\nname = "${name}"\n`).join('')
  registrar = await startRegistrarProcess(
    join(directory, 'registrar'),
    `${ADMITS_SOFTWARE}${tables}`,
  )
  stack.defer(() => registrar.end())
  instance = await enrolledSoftware(registrar, 'i-bp1mfahp6d25gnmuukmf')
})
afterAll(() => stack.disposeAsync())

async function seenFor(audience: string): Promise<SeenByCloud> {
  const at = (url: unknown) => String(url).replace(registrar.url, registrar.origin)
  const served = await fetch(at(`${registrar.url}/.well-known/openid-configuration`))
  const configuration = z.looseObject({}).parse(await served.json())
  const answered = await (await fetch(at(configuration.jwks_uri))).json()
  const { keys } = z.object({ keys: z.array(z.looseObject({})) }).parse(answered)
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: identityTokenOfSoftware(instance, registrar.url),
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    audience,
  })
  const given = await (await fetch(`${registrar.origin}/token`, { method: 'POST', body })).json()
  const token = z.object({ access_token: z.string() }).parse(given).access_token
  return {
    ...{ url: registrar.url, configuration, type: served.headers.get('content-type') ?? '', keys },
    ...{ token, header: { ...decodeProtectedHeader(token) }, claims: decodeJwt(token) },
    audiences: AUDIENCES,
  }
}

describe.each([
  ['Alibaba Cloud', 'sts.aliyuncs.com'],
  ['AWS', 'sts.amazonaws.com'],
  ['Google Cloud', GOOGLE_AUDIENCE],
  ['Microsoft Entra', ENTRA_AUDIENCE],
])('%s', (cloud, audience) => {
  const demands = CLOUD_DEMANDS.filter((one) => one.cloud === cloud)

  test.each(demands)('$demand', async ({ holds }) => {
    const seen = await seenFor(audience)
    expect(seen.claims.aud).toBe(audience)
    expect(holds(seen)).toBe(true)
  })
})

test('each demand is one that something else would break', async () => {
  const seen = await seenFor('sts.amazonaws.com')
  const broken: SeenByCloud = {
    ...{ url: `${registrar.url}:8443/?${' '.repeat(600)}`, configuration: {}, type: 'text/html' },
    ...{ keys: Array.from({ length: 101 }, () => ({ kty: 'OKP' })), token: 'x'.repeat(20_001) },
    ...{ header: { alg: 'HS256' }, audiences: [] },
    claims: { sub: 'x'.repeat(601), aud: ['a', 'b'], iat: seen.claims.iat, exp: 2 ** 33 },
  }
  const kept = CLOUD_DEMANDS.filter(({ holds }) => holds(broken)).map(({ demand }) => demand)
  // A list of audiences has no length.
  expect(kept).toEqual(['a client ID of 255 characters at most'])
})

test('docs/fleet-tokens.md lists these demands, each with its source', async () => {
  const page = await readFile(new URL('../../docs/fleet-tokens.md', import.meta.url), 'utf8')
  const rows = [...page.matchAll(/^\| ([^|]+) \| ([^|]+) \| (\[[^|]+\]\(https:[^|]+\)[^|]*) \|$/gm)]
  const listed = rows.map(([, cloud, demand]) => `${cloud}: ${demand}`)
  expect(listed).toEqual(CLOUD_DEMANDS.map(({ cloud, demand }) => `${cloud}: ${demand}`))
})
