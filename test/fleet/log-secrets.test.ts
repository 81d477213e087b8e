import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { expect, onTestFinished, test } from 'vitest'
import { scratch } from '../harness/metabind.ts'
import { newNonce, post } from './enrolling.ts'
import { startRegistrarProcess } from './registrar-process.ts'
import { ADMITS_SOFTWARE } from './software-enrolled.ts'
import {
  answerTo,
  type ChallengeJson,
  evidenceFor,
  identityTokenOfSoftware,
  unknownInstance,
} from './software-instance.ts'

test('the log has no token, no secret of a challenge and no key, also at level debug and of what is refused', async () => {
  const place = await scratch()
  const audience = '[[audience]]\nname = "sts.example"\n'
  const more = `${ADMITS_SOFTWARE}${audience}[log]\nlevel = "debug"\n`
  const registrar = await startRegistrarProcess(join(place.path, 'r'), more)
  onTestFinished(async () => {
    await registrar.end()
    await place[Symbol.asyncDispose]()
  })
  const instance = unknownInstance('i-one')
  const bound = { nonce: await newNonce(registrar.origin), url: registrar.url, generation: 0 }
  const evidence = evidenceFor(instance, bound)
  const { body } = await post(registrar.origin, '/enrol/challenge', { evidence })
  const answer = answerTo(instance, body.challenge as ChallengeJson)
  expect((await post(registrar.origin, '/enrol', { answer })).status).toBe(200)
  const identity = identityTokenOfSoftware(instance, registrar.url)
  const exchange = async (subject: string) => {
    const form = {
      grant_type: 'urn:ietf:params:oauth:grant-type:token-exchange',
      subject_token_type: 'urn:ietf:params:oauth:token-type:jwt',
      ...{ subject_token: subject, audience: 'sts.example' },
    }
    const response = await fetch(`${registrar.origin}/token`, {
      method: 'POST',
      body: new URLSearchParams(form),
    })
    return { status: response.status, body: JSON.parse(await response.text()) }
  }
  const given = await exchange(identity)
  expect(given.status).toBe(200)
  const altered = `${identity.slice(0, -8)}AAAAAAAA`
  // What is refused is logged with its cause: used before, altered, an answer that is another's, what is no request.
  for (const refused of [identity, altered]) expect((await exchange(refused)).status).toBe(400)
  const wrong = { ...answer, secret: `${answer.secret.slice(4)}AAAA` }
  for (const sent of [{ answer: wrong }, { answer, more: answer.secret }, { evidence }]) {
    expect((await post(registrar.origin, '/enrol', sent)).status).toBeGreaterThanOrEqual(400)
  }
  await registrar.end()
  const log = JSON.stringify(registrar.records)
  expect(registrar.records.filter(({ msg }) => msg === 'refused')).toHaveLength(5)
  const master = await readFile(join(place.path, 'r', 'master.key'))
  const secrets = {
    ...{ identity, altered, token: String(given.body.access_token) },
    ...{ answer: answer.secret, wrong: wrong.secret },
    answerHex: Buffer.from(answer.secret, 'base64').toString('hex'),
    ...{ master: master.toString('base64'), masterHex: master.toString('hex') },
  }
  for (const [name, secret] of Object.entries(secrets)) {
    expect(secret.length, name).toBeGreaterThan(16)
    // The signature is the secret part of a token, and any long piece would be one too many.
    for (const piece of [secret, secret.slice(-24), secret.slice(0, 120).slice(-24)]) {
      expect(log.includes(piece), name).toBe(false)
    }
  }
  expect(log).not.toMatch(/PRIVATE KEY|"d":/)
})
