import { openTpm, type Tpm, type TpmCommands, TpmError, type TpmObject } from 'tpm2-js'
import { type ErrorCode, MetabindError } from '../errors.ts'
import { PRIMARIES, type Primary } from '../format/tpm-templates.ts'
import { type Demand, type Endorsement, findEndorsement } from './endorsement.ts'
import { isLackOfRoom, roomMaker } from './tpm-room.ts'

/** The instance's TPM. A context that broke is thrown away, and the next call opens another. */
export interface InstanceTpm {
  /** Runs commands with nobody else's in between; whatever they made is flushed. @throws MetabindError TPM_… */
  run<T>(steps: (commands: TpmCommands) => Promise<T>): Promise<T>
  close(): Promise<void>
}

/** A primary key's public side. */
export interface PublicKey {
  /** TPM Name: nameAlg ‖ digest of the public area (TPM 2.0 Part 1, 16). */
  readonly name: Buffer
  /** TPMT_PUBLIC. */
  readonly publicArea: Buffer
}

/** The keys of an instance: all primaries, recreated at each start, none stored or persistent. */
export interface InstanceKeys {
  readonly endorsement: Endorsement
  readonly ek: PublicKey
  readonly ak: PublicKey
  readonly sk: PublicKey
  readonly rk: PublicKey
  readonly bk: PublicKey
}

/** Told of each TPM command, also of one that failed. */
export type ObserveCommand = (command: keyof TpmCommands, seconds: number) => void

/** Told that two connections wait for a TPM that does not answer, so that none can be opened beside them. */
export type OnStuck = (why: MetabindError) => void

/**
 * @param tcti how the TPM is reached; never empty
 * @param observe told how long each command took, by the name that tpm2-js gives it
 */
export function instanceTpm(
  tcti: string,
  commandTimeoutMs: number,
  observe: ObserveCommand = () => undefined,
  onStuck: OnStuck = () => undefined,
): InstanceTpm {
  const makeRoom = roomMaker(tcti)
  let current: Promise<Tpm> | undefined
  let closed = false
  const connect = (): Promise<Tpm> => {
    if (closed) throw new TpmError('TPM_CLOSED', 'the connection to the TPM is closed')
    current ??= openTpm({ tcti, commandTimeoutMs })
    return current
  }
  /** Closes this connection, and none that another caller has opened since. */
  const giveUp = async (connection: Promise<Tpm>): Promise<void> => {
    if (current === connection) current = undefined
    await connection.then((tpm) => tpm.close()).catch(() => undefined)
  }
  /** So that the next try finds a connection that works, and room. */
  const recover = async (connection: Promise<Tpm>, error: unknown): Promise<void> => {
    if (await isBroken(connection)) return await giveUp(connection)
    if (!isLackOfRoom(error)) return
    // Behind a resource manager a new connection has empty slots.
    if (makeRoom === undefined) await giveUp(connection)
    else await connection.then(makeRoom).catch(() => undefined)
  }
  return {
    run: async (steps) => {
      let connection: Promise<Tpm> | undefined
      try {
        connection = connect()
        const tpm = await connection
        return await tpm.sequence((commands) => steps(observed(commands, observe)))
      } catch (error) {
        if (connection !== undefined) await recover(connection, error)
        const fault = asTpmFault(error)
        if (fault instanceof MetabindError && fault.code === 'TPM_STUCK') onStuck(fault)
        throw fault
      }
    },
    close: async () => {
      closed = true
      if (current !== undefined) await giveUp(current)
    },
  }
}

/** A refusal, a wrong argument or an object that is gone leaves a connection as good as it was. */
async function isBroken(connection: Promise<Tpm>): Promise<boolean> {
  return await connection.then(
    (tpm) => tpm.failure() !== undefined,
    () => true,
  )
}

/** Makes the five primaries, one after the other: a bare TPM has three object slots. */
export function createInstanceKeys(
  tpm: InstanceTpm,
  ekCertificate: Demand = 'prefer',
): Promise<InstanceKeys> {
  return tpm.run(async (commands) => {
    const endorsement = await findEndorsement(commands, ekCertificate)
    const make = async ({ hierarchy, template }: Primary) =>
      publicSide(commands, await commands.createPrimary(hierarchy, template))
    return {
      endorsement,
      ek: await make(ekOf(endorsement)),
      ak: await make(PRIMARIES.AK),
      sk: await make(PRIMARIES.SK),
      rk: await make(PRIMARIES.RK),
      bk: await make(PRIMARIES.BK),
    }
  })
}

/** The two values that a token key is made of: from the identity's root and from the boot's. */
export interface RootValues {
  readonly fromRoot: Buffer
  readonly fromBoot: Buffer
}

/**
 * TPM2_HMAC of each message under RK and BK. The answers carry key material: they travel encrypted,
 * in a session salted to the EK (Part 1, 19 and 21), and a TPM without that EK cannot answer.
 *
 * @throws MetabindError TPM_OTHER if a key has another Name than at start
 */
export function rootHmacs(
  tpm: InstanceTpm,
  keys: InstanceKeys,
  messages: readonly Buffer[],
): Promise<RootValues[]> {
  return tpm.run(async (commands) => {
    const ek = await recreateEk(commands, keys)
    const session = await commands.startAuthSession({ type: 'hmac', tpmKey: ek })
    await commands.flushContext(ek)
    await commands.setSessionAttributes(session, {
      continueSession: true,
      decrypt: true,
      encrypt: true,
    })
    const under = async (key: TpmObject): Promise<Buffer[]> => {
      const macs: Buffer[] = []
      for (const message of messages) {
        const mac = await commands.hmac(key, message, session)
        // No copy: who uses the value wipes it.
        macs.push(Buffer.from(mac.buffer, mac.byteOffset, mac.byteLength))
      }
      await commands.flushContext(key)
      return macs
    }
    const fromRoot = await under(await recreate(commands, PRIMARIES.RK, keys.rk))
    const fromBoot = await under(await recreate(commands, PRIMARIES.BK, keys.bk))
    return pair(fromRoot, fromBoot)
  })
}

function pair(fromRoot: readonly Buffer[], fromBoot: readonly Buffer[]): RootValues[] {
  return fromRoot.flatMap((root, at) => {
    const boot = fromBoot[at]
    return boot === undefined ? [] : [{ fromRoot: root, fromBoot: boot }]
  })
}

/** The EK, loaded. @throws MetabindError TPM_OTHER */
export function recreateEk(commands: TpmCommands, keys: InstanceKeys): Promise<TpmObject> {
  return recreate(commands, ekOf(keys.endorsement), keys.ek)
}

/** The AK, loaded. @throws MetabindError TPM_OTHER */
export function recreateAk(commands: TpmCommands, keys: InstanceKeys): Promise<TpmObject> {
  return recreate(commands, PRIMARIES.AK, keys.ak)
}

/** Makes a primary again. @throws MetabindError TPM_OTHER if it has another Name than at start */
export async function recreate(
  commands: TpmCommands,
  { hierarchy, template }: Primary,
  expected: PublicKey,
): Promise<TpmObject> {
  const object = await commands.createPrimary(hierarchy, template)
  if (!expected.name.equals(object.name)) throw new MetabindError('TPM_OTHER', 'a Name differs')
  return object
}

function ekOf({ template }: Endorsement): Primary {
  return { hierarchy: 'endorsement', template }
}

/** The same commands, each timed. */
function observed(commands: TpmCommands, observe: ObserveCommand): TpmCommands {
  return new Proxy(commands, {
    get: (target, name: keyof TpmCommands) => {
      const command = target[name]
      return async (...args: readonly unknown[]) => {
        const startedAtMs = performance.now()
        try {
          return await Reflect.apply(command, target, args)
        } finally {
          observe(name, (performance.now() - startedAtMs) / 1000)
        }
      }
    },
  })
}

async function publicSide(commands: TpmCommands, object: TpmObject): Promise<PublicKey> {
  const side = { name: Buffer.from(object.name), publicArea: Buffer.from(object.publicArea) }
  await commands.flushContext(object)
  return side
}

function isTpmError(error: unknown): error is TpmError {
  return error instanceof TpmError
}

const OPEN_FAULTS: Readonly<Record<string, ErrorCode>> = {
  TPM_ABSENT: 'TPM_ABSENT',
  TPM_NOT_PERMITTED: 'TPM_NOT_PERMITTED',
  TPM_BUSY: 'TPM_BUSY',
  TPM_STUCK: 'TPM_STUCK',
  TPM_LIBRARY_MISSING: 'TPM_LIBRARY',
  TPM_LIBRARY_UNFIT: 'TPM_LIBRARY',
}
// TPM_RC_BAD_AUTH for session 1, TPM_RC_AUTH_UNAVAILABLE, TPM_RC_HIERARCHY for handle 1.
const HIERARCHY_RCS = new Set([0x9a2, 0x12f, 0x185])

function asTpmFault(error: unknown): unknown {
  if (!isTpmError(error)) return error
  const code = OPEN_FAULTS[error.code]
  if (code !== undefined) return new MetabindError(code, undefined, error)
  if (isLackOfRoom(error)) return new MetabindError('TPM_FULL', error.message, error)
  if (error.rc !== undefined && HIERARCHY_RCS.has(error.rc)) {
    return new MetabindError('TPM_HIERARCHY_AUTH', undefined, error)
  }
  return new MetabindError('TPM_FAULT', error.message, error)
}
