/**
 * Parameters of the ESAPI commands, after the ESYS_CONTEXT, as in tss2_esys.h. Structures are
 * `void`: they are only ever made and read by the marshalling library. `tools/check-prototypes.ts`
 * compares this table with a header.
 */

const SESSIONS = 'uint32_t shandle1, uint32_t shandle2, uint32_t shandle3'

export const ESYS_PARAMETERS = {
  Esys_ActivateCredential: `uint32_t activateHandle, uint32_t keyHandle, ${SESSIONS}, const void *credentialBlob, const void *secret, _Out_ void **certInfo`,
  Esys_Certify: `uint32_t objectHandle, uint32_t signHandle, ${SESSIONS}, const void *qualifyingData, const void *inScheme, _Out_ void **certifyInfo, _Out_ void **signature`,
  Esys_CreatePrimary: `uint32_t primaryHandle, ${SESSIONS}, const void *inSensitive, const void *inPublic, const void *outsideInfo, const void *creationPCR, _Out_ uint32_t *objectHandle, _Out_ void **outPublic, _Out_ void **creationData, _Out_ void **creationHash, _Out_ void **creationTicket`,
  Esys_FlushContext: 'uint32_t flushHandle',
  Esys_GetCapability: `${SESSIONS}, uint32_t capability, uint32_t property, uint32_t propertyCount, _Out_ uint8_t *moreData, _Out_ void **capabilityData`,
  Esys_GetRandom: `${SESSIONS}, uint16_t bytesRequested, _Out_ void **randomBytes`,
  Esys_GetTime: `uint32_t privacyAdminHandle, uint32_t signHandle, ${SESSIONS}, const void *qualifyingData, const void *inScheme, _Out_ void **timeInfo, _Out_ void **signature`,
  Esys_HMAC: `uint32_t handle, ${SESSIONS}, const void *buffer, uint16_t hashAlg, _Out_ void **outHMAC`,
  Esys_LoadExternal: `${SESSIONS}, const void *inPrivate, const void *inPublic, uint32_t hierarchy, _Out_ uint32_t *objectHandle`,
  Esys_MakeCredential: `uint32_t handle, ${SESSIONS}, const void *credential, const void *objectName, _Out_ void **credentialBlob, _Out_ void **secret`,
  Esys_NV_Read: `uint32_t authHandle, uint32_t nvIndex, ${SESSIONS}, uint16_t size, uint16_t offset, _Out_ void **data`,
  Esys_NV_ReadPublic: `uint32_t nvIndex, ${SESSIONS}, _Out_ void **nvPublic, _Out_ void **nvName`,
  Esys_PCR_Read: `${SESSIONS}, const void *pcrSelectionIn, _Out_ uint32_t *pcrUpdateCounter, _Out_ void **pcrSelectionOut, _Out_ void **pcrValues`,
  Esys_PolicyGetDigest: `uint32_t policySession, ${SESSIONS}, _Out_ void **policyDigest`,
  Esys_PolicyPCR: `uint32_t policySession, ${SESSIONS}, const void *pcrDigest, const void *pcrs`,
  Esys_PolicySecret: `uint32_t authHandle, uint32_t policySession, ${SESSIONS}, const void *nonceTPM, const void *cpHashA, const void *policyRef, int32_t expiration, _Out_ void **timeout, _Out_ void **policyTicket`,
  Esys_Quote: `uint32_t signHandle, ${SESSIONS}, const void *qualifyingData, const void *inScheme, const void *PCRselect, _Out_ void **quoted, _Out_ void **signature`,
  Esys_ReadClock: `${SESSIONS}, _Out_ void **currentTime`,
  Esys_ReadPublic: `uint32_t objectHandle, ${SESSIONS}, _Out_ void **outPublic, _Out_ void **name, _Out_ void **qualifiedName`,
  Esys_Sign: `uint32_t keyHandle, ${SESSIONS}, const void *digest, const void *inScheme, const void *validation, _Out_ void **signature`,
  Esys_StartAuthSession: `uint32_t tpmKey, uint32_t bind, ${SESSIONS}, const void *nonceCaller, uint8_t sessionType, const void *symmetric, uint16_t authHash, _Out_ uint32_t *sessionHandle`,
  Esys_TR_FromTPMPublic: `uint32_t tpm_handle, uint32_t optionalSession1, uint32_t optionalSession2, uint32_t optionalSession3, _Out_ uint32_t *object`,
  Esys_TRSess_SetAttributes: 'uint32_t session, uint8_t flags, uint8_t mask',
} as const

export type EsysFunction = keyof typeof ESYS_PARAMETERS

/** ESYS_TR values of tss2_esys.h. They are not TPM handles: mixing them up is the commonest mistake. */
export const ESYS_TR = {
  NONE: 0xfff,
  PASSWORD: 0x0ff,
  OWNER: 0x101,
  NULL: 0x107,
  ENDORSEMENT: 0x10b,
  PLATFORM: 0x10c,
} as const
