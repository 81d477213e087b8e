import { spawn } from 'node:child_process'
import { createPublicKey, verify } from 'node:crypto'
import { once } from 'node:events'
import { existsSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { readFile } from 'node:fs/promises'
import { join } from 'node:path'
import { afterAll, afterEach, beforeEach, describe, expect, test } from 'vitest'
import { scratchDirectory } from '../../../test/harness/scratch.ts'
import { p11KitClient, type SoftHsm, softHsm } from '../../../test/harness/softhsm.ts'
import { type Pkcs11Token, type PublicPart, pkcs11Token } from '../src/pkcs11.ts'

/** Against SoftHSM, the token that there is in software: in this process, and behind the server of p11-kit. */

const BYTES = Buffer.from('what is signed')
let stack: AsyncDisposableStack
let hsm: SoftHsm
let changes: unknown[]
beforeEach(async () => {
  stack = new AsyncDisposableStack()
  hsm = await softHsm(stack.use(await scratchDirectory()).path)
  process.env.SOFTHSM2_CONF = hsm.env.SOFTHSM2_CONF
  changes = []
})
afterEach(() => stack.disposeAsync())

function tokenOf({ module = hsm.module, label = hsm.label } = {}): Pkcs11Token {
  const readPin = () => Buffer.from(readFileSync(hsm.pinFile, 'utf8').trim())
  const onChange = (lost: unknown) => void changes.push(lost)
  const token = pkcs11Token({ module, label, readPin, onChange })
  stack.defer(() => token.close())
  return token
}

function keyOf(part: PublicPart) {
  const text = (bytes: Buffer) => bytes.toString('base64url')
  const key =
    'modulus' in part
      ? { kty: 'RSA', n: text(part.modulus), e: text(part.exponent) }
      : { kty: 'EC', crv: 'P-256', x: text(part.x), y: text(part.y) }
  return { key: createPublicKey({ key, format: 'jwk' }), dsaEncoding: 'ieee-p1363' } as const
}

describe.each(['RSA-2048', 'P-256'] as const)('a key of %s', (type) => {
  test('signs in the token, is found again after a restart, and cannot leave', async () => {
    const token = tokenOf()
    const { id, publicPart } = await token.generate(type, 'a key')
    const signature = await token.sign({ id, type }, BYTES)
    expect(verify('sha256', BYTES, keyOf(publicPart), signature)).toBe(true)
    const described = hsm.tool('--list-objects', '--type', 'privkey')
    expect(described).toMatch(/Usage: +sign\n/)
    expect(described).toMatch(/Access: +sensitive, always sensitive, never extractable, local\n/)
    await token.close()
    const again = await tokenOf().sign({ id, type }, BYTES)
    expect(verify('sha256', BYTES, keyOf(publicPart), again)).toBe(true)
  })

  test('is gone once it was destroyed, with its public half', async () => {
    const token = tokenOf()
    const { id } = await token.generate(type, 'a key')
    expect(await token.destroy(id)).toBe(2)
    expect(await token.destroy(id)).toBe(0)
    await expect(token.sign({ id, type }, BYTES)).rejects.toMatchObject({ code: 'PKCS11_NO_KEY' })
    expect(hsm.tool('--list-objects')).not.toContain('a key')
  })
})

test('many signatures at once are all made, and what is beyond the bound is refused at once', async () => {
  const token = tokenOf()
  const { id, publicPart } = await token.generate('P-256', 'a key')
  const asked = Array.from({ length: 80 }, () => token.sign({ id, type: 'P-256' }, BYTES))
  const results = await Promise.allSettled(asked)
  const made = results.flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []))
  expect(made).toHaveLength(66)
  for (const one of made) expect(verify('sha256', BYTES, keyOf(publicPart), one)).toBe(true)
  const refused = results.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []))
  for (const one of refused) expect(one).toMatchObject({ code: 'PKCS11_BUSY' })
})

test('a wrong PIN is shown to the token once, until there is another one', async () => {
  const readPin = () => Buffer.from(readFileSync(hsm.pinFile, 'utf8').trim())
  let shown = 0
  const token = pkcs11Token({
    ...{ module: hsm.module, label: hsm.label, onChange: (lost) => void changes.push(lost) },
    readPin: () => {
      shown += 1
      return readPin()
    },
  })
  stack.defer(() => token.close())
  writeFileSync(hsm.pinFile, 'not this one')
  await expect(token.open()).rejects.toMatchObject({
    code: 'PKCS11_PIN',
    ckr: 'CKR_PIN_INCORRECT',
  })
  for (let tries = 0; tries < 5; tries += 1) {
    await expect(token.open()).rejects.toMatchObject({ code: 'PKCS11_PIN' })
  }
  expect(shown).toBe(1)
  // Read to be compared, and not shown.
  token.takeNewPin()
  expect(shown).toBe(2)
  await expect(token.open()).rejects.toMatchObject({ code: 'PKCS11_PIN' })
  expect(shown).toBe(2)
  writeFileSync(hsm.pinFile, hsm.pin)
  token.takeNewPin()
  await token.open()
  expect(shown).toBe(4)
  expect(changes).toEqual([expect.objectContaining({ code: 'PKCS11_PIN' }), undefined])
})

test.each([
  [{ module: '/usr/lib/none.so' }, 'PKCS11_MODULE'],
  [{ module: '/lib/x86_64-linux-gnu/libc.so.6' }, 'PKCS11_MODULE'],
  [{ label: 'none of it' }, 'PKCS11_TOKEN'],
])('what is not there is named: %j', async (options, code) => {
  await expect(tokenOf(options).open()).rejects.toMatchObject({ code })
})

test('a token that was taken away is told once, and used again when it is back', async () => {
  const token = tokenOf()
  const { id } = await token.generate('P-256', 'a key')
  await hsm.hide()
  const sign = () => token.sign({ id, type: 'P-256' }, BYTES)
  await expect(sign()).rejects.toThrow()
  await expect(sign()).rejects.toThrow()
  await expect(sign()).rejects.toThrow()
  expect(changes).toHaveLength(1)
  await hsm.show()
  await expect
    .poll(() =>
      sign().then(
        () => 'signed',
        () => 'refused',
      ),
    )
    .toBe('signed')
  expect(changes).toEqual([expect.anything(), undefined])
})

// The client reads once of a process where its server is.
const place = await scratchDirectory()
const socket = join(place.path, 'p11-kit.sock')
process.env.P11_KIT_SERVER_ADDRESS = `unix:path=${socket}`
afterAll(() => place[Symbol.asyncDispose]())

/** A daemon that has the token, as those of cards and of HSMs in a network are. It has a child for each connection. */
async function startServer() {
  rmSync(socket, { force: true })
  const args = ['server', '--foreground', '--provider', hsm.module, '--name', socket, 'pkcs11:']
  const child = spawn('p11-kit', args, { stdio: ['ignore', 'ignore', 'inherit'], detached: true })
  const end = async () => {
    if (child.exitCode !== null || child.signalCode !== null) return
    process.kill(-(child.pid ?? 0), 'SIGKILL')
    await once(child, 'exit')
  }
  stack.defer(end)
  await expect.poll(() => existsSync(socket)).toBe(true)
  const signal = (name: NodeJS.Signals) => void process.kill(-(child.pid ?? 0), name)
  return { end, stop: () => signal('SIGSTOP'), goOn: () => signal('SIGCONT') }
}

test('a daemon that ends while it is used is found again when it is back', async () => {
  const first = await startServer()
  const token = tokenOf({ module: p11KitClient() })
  const { id, publicPart } = await token.generate('P-256', 'a key')
  const sign = () => token.sign({ id, type: 'P-256' }, BYTES)
  expect(verify('sha256', BYTES, keyOf(publicPart), await sign())).toBe(true)
  await first.end()
  await expect(sign()).rejects.toThrow()
  expect(changes).toEqual([expect.objectContaining({ ckr: expect.stringMatching(/^CKR_DEVICE_/) })])
  await startServer()
  await expect
    .poll(() =>
      sign().then(
        (made) => verify('sha256', BYTES, keyOf(publicPart), made),
        () => false,
      ),
    )
    .toBe(true)
  expect(changes).toHaveLength(2)
})

test('calls that hang keep two turns: others are refused in time, and all is well when they return', async () => {
  const server = await startServer()
  const token = tokenOf({ module: p11KitClient() })
  const { id } = await token.generate('P-256', 'a key')
  const sign = () => token.sign({ id, type: 'P-256' }, BYTES)
  await Promise.all([sign(), sign()])
  server.stop()
  const asked = await Promise.allSettled([sign(), sign(), sign(), sign()])
  const codes = asked.map((one) => (one.status === 'rejected' ? one.reason.code : 'signed'))
  expect(codes).toEqual(['PKCS11_TIMEOUT', 'PKCS11_TIMEOUT', 'PKCS11_BUSY', 'PKCS11_BUSY'])
  // The loop goes on, and so do libuv's other threads.
  expect((await readFile(hsm.pinFile)).length).toBeGreaterThan(0)
  await expect(sign()).rejects.toMatchObject({ code: 'PKCS11_BUSY' })
  server.goOn()
  await expect
    .poll(() =>
      sign().then(
        () => 'signed',
        () => 'refused',
      ),
    )
    .toBe('signed')
})

test('one that hangs while it is opened keeps nobody from closing it', async () => {
  const server = await startServer()
  server.stop()
  stack.defer(server.goOn)
  const token = tokenOf({ module: p11KitClient() })
  await expect(token.open()).rejects.toMatchObject({ code: 'PKCS11_TIMEOUT' })
  await token.close()
  server.goOn()
})
