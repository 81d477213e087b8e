import { existsSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { bootTimeMs } from 'metabind-linux'
import { ADMIN_CALLS } from '../../src/admin-api.ts'
import { callAdmin } from '../../src/admin-client.ts'
import type { Scene } from './fault.ts'
import { CREDENTIALS, POLICY, USERS } from './stage.ts'

/** What an agent does besides answering. Any of it may find no agent, or one that is killed meanwhile. */

const TTL_SECONDS = 3600

const socketsOf = ({ stage: { instance } }: Scene) => ({
  metadata: instance.metadataSocket,
  admin: instance.adminSocket,
})

/** Ends one token of a user. Whoever is not told that it is over cannot know. */
export async function revokeOne(scene: Scene): Promise<void> {
  const token = await scene.audience.token(USERS.other, TTL_SECONDS)
  if (token === undefined) return
  token.revokedFromMs = bootTimeMs()
  const told = await isTold(callAdmin(socketsOf(scene), ADMIN_CALLS.revoke, { token: token.text }))
  if (told) token.revokedByMs = bootTimeMs()
}

export async function revokeAll(scene: Scene): Promise<void> {
  const fromMs = bootTimeMs()
  const told = await isTold(callAdmin(socketsOf(scene), ADMIN_CALLS.revoke, { all: true }))
  scene.audience.ledger.revokeAll(fromMs, told ? bootTimeMs() : Number.POSITIVE_INFINITY)
}

async function isTold(said: Promise<unknown>): Promise<boolean> {
  try {
    await said
    return true
  } catch {
    return false
  }
}

/** The same policy once more, from another file. */
export function reload({ stage }: Scene): void {
  const file = join(stage.directory, 'policy.toml')
  writeFileSync(`${file}.new`, `# ${stage.starts}\n${POLICY}`)
  renameSync(`${file}.new`, file)
  stage.agent.child.kill('SIGHUP')
}

let rotations = 0

/** As logrotate does. */
export function rotate({ stage }: Scene): void {
  if (!existsSync(stage.auditFile)) return
  rotations += 1
  try {
    renameSync(stage.auditFile, `${stage.auditFile}.${rotations}`)
  } catch {
    // On a disk that is read-only nobody can.
  }
  stage.agent.child.kill('SIGUSR1')
}

/** The role gets new credentials, and root has them read at once. */
export async function newCredentials(scene: Scene): Promise<void> {
  const { stage, audience } = scene
  stage.cloud.rotateCredentials()
  await audience.learn()
  const token = await audience.token(USERS.app, TTL_SECONDS)
  if (token !== undefined) await audience.read(USERS.app, CREDENTIALS, token)
}
