import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { join } from 'node:path'
import { decodeJwt, SignJWT } from 'jose'
import { afterAll, beforeAll, expect, test } from 'vitest'
import { z } from 'zod'
import { enrolledInstanceSchema } from '../../src/registrar-repository/enrolled-instance.ts'
import { sqliteRepository } from '../../src/registrar-repository/sqlite-repository.ts'
import { scratch } from '../harness/metabind.ts'
import { enrolledRow } from '../registrar/enrolled.ts'
import { startRegistrarProcess } from './registrar-process.ts'

/** Token exchanges by many at a time, and a registrar that is killed under them, again and again. */

const AUDIENCE = '[[audience]]\nname = "sts.example"\nalgorithm = "ES256"\n'
const KILLS = 4
const AT_A_TIME = 8

const { publicKey, privateKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' })
const stack = new AsyncDisposableStack()
let directory: string
beforeAll(async () => {
  directory = join(stack.use(await scratch()).path, 'registrar')
})
afterAll(() => stack.disposeAsync())

const { iid, instanceId } = enrolledRow()

/** A row whose SK is software's: what signs it is of no interest here. */
async function enrolSoftware(database: string): Promise<void> {
  const sk = enrolledInstanceSchema.shape.sk.parse(publicKey.export({ format: 'jwk' }))
  const repository = sqliteRepository(database)
  const row = enrolledRow({ sk, expiresAtMs: Date.now() + 3_600_000 })
  await repository.commit({ instances: [row], events: [] }, Date.now())
  await repository.close()
}

function identityToken(audience: string): Promise<string> {
  const iat = Math.floor(Date.now() / 1000)
  const jti = randomBytes(16).toString('hex')
  const claims = { iss: `metabind:${iid}`, sub: instanceId, aud: audience, iid, jti }
  return new SignJWT({ ...claims, iat, exp: iat + 900 })
    .setProtectedHeader({ alg: 'ES256', typ: 'JWT' })
    .sign(privateKey)
}

const answerSchema = z.looseObject({ access_token: z.string().optional() })

/** @returns the token; undefined if it was refused, or the registrar was killed before it answered */
async function exchanged(origin: string, subject: string): Promise<string | undefined> {
  const body = new URLSearchParams({
    grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
    subject_token: subject,
    subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
    audience: 'sts.example',
  })
  try {
    const response = await fetch(`${origin}/token`, { method: 'POST', body })
    return answerSchema.parse(await response.json()).access_token
  } catch {
    return undefined
  }
}

test('killed under load: no identity token is exchanged twice, and each token given was counted', async () => {
  const subjects: string[] = []
  const given: string[] = []
  for (let kill = 0; kill <= KILLS; kill += 1) {
    const registrar = await startRegistrarProcess(directory, AUDIENCE)
    if (kill === 0) await enrolSoftware(registrar.database)
    // What the one before gave may have been lost on its way; it is not given again.
    const again = await Promise.all(subjects.map((subject) => exchanged(registrar.origin, subject)))
    given.push(...again.filter((token) => token !== undefined))
    const enough = given.length + 20 * (kill + 1)
    const ask = async (): Promise<void> => {
      while (given.length < enough) {
        const subject = await identityToken(registrar.url)
        subjects.push(subject)
        const token = await exchanged(registrar.origin, subject)
        if (token === undefined) return
        given.push(token)
      }
      await registrar.end('SIGKILL')
    }
    await Promise.all(Array.from({ length: AT_A_TIME }, ask))
    await registrar.end('SIGKILL')
  }
  const repository = sqliteRepository(join(directory, 'registrar.db'))
  stack.defer(() => repository.close())
  const [use] = await repository.uses(iid)
  expect(given.length).toBeGreaterThan(20 * KILLS)
  expect(new Set(given.map((token) => decodeJwt(token).jti)).size).toBe(given.length)
  // More were given only if they were lost on their way; never more than there are identity tokens.
  expect(use?.tokens).toBeGreaterThanOrEqual(given.length)
  expect(use?.tokens).toBeLessThanOrEqual(subjects.length)
})
