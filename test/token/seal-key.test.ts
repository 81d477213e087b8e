import { createHmac, hkdfSync } from 'node:crypto'
import { expect, test } from 'vitest'
import { Secret } from '../../src/secret.ts'
import type { DeriveRoots } from '../../src/token/derive-key.ts'
import { deriveSealKey } from '../../src/token/seal-key.ts'

const LABEL = 'metabind seal key v1'
const CONTEXT = Buffer.alloc(32, 'context')
const SALT = Buffer.alloc(32, 'salt')

const hmac = (key: string, message: Buffer) => createHmac('sha256', key).update(message).digest()

test('the sealing key is made of both roots of its own label and context, and of the salt', async () => {
  const message = Buffer.concat([Buffer.from(LABEL), CONTEXT])
  const asked: Buffer[] = []
  const derive: DeriveRoots = async (messages) => {
    asked.push(...messages)
    return messages.map((one) => ({ fromRoot: hmac('root', one), fromBoot: hmac('boot', one) }))
  }
  const { key, context } = await deriveSealKey(derive, CONTEXT, new Secret(SALT))
  expect(asked).toEqual([message])
  const material = Buffer.concat([hmac('root', message), hmac('boot', message)])
  expect(key.reveal()).toEqual(Buffer.from(hkdfSync('sha256', material, SALT, LABEL, 32)))
  expect(context).toBe(CONTEXT)
})

test('without roots there is no key', async () => {
  const derived = deriveSealKey(async () => [], CONTEXT, new Secret(SALT))
  await expect(derived).rejects.toMatchObject({ code: 'INTERNAL' })
})
