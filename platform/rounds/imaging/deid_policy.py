"""The de-identification policy: which DICOM attributes stay, and how each is treated. What is not here is dropped."""

from enum import Enum

from pydicom.datadict import dictionary_VR, tag_for_keyword

POLICY_VERSION = "3"
POLICY_NAME = f"Rounds allow-list {POLICY_VERSION}"

METHOD_CODES = (
    ("113100", "Basic Application Confidentiality Profile"),
    ("113105", "Clean Descriptors Option"),
    ("113107", "Retain Longitudinal Temporal Information Modified Dates Option"),
    ("113108", "Retain Patient Characteristics Option"),
    ("113109", "Retain Device Identity Option"),
)
"""(0012,0064), from PS3.16 CID 7050. Of the patient only sex and age stay; serial numbers and station names do not."""


class Action(Enum):
    """What happens to an attribute that stays."""

    KEEP = "keep what is well-formed for its VR, without long numbers, dates and words of the identity"
    CLEAN = "keep the words that are in the technical vocabulary, without long numbers and dates"
    TERM = "keep the values that are defined terms"
    UID = "remap"
    CLASS = "keep if it is a UID of the standard"
    DATE = "shift; of a date with time the date alone"
    AGE = "keep, ages over 89 become 090Y"
    PIXELS = "keep the pixels; blank comments, overlay bits and what follows the image"
    ITEMS = "apply the policy to every item"


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split())


def _table(action: Action, keywords: str) -> dict[int, tuple[Action, str]]:
    entries: dict[int, tuple[Action, str]] = {}
    for keyword in keywords.split():
        tag = tag_for_keyword(keyword)
        if tag is None:
            raise KeyError(keyword)
        entries[tag] = (action, dictionary_VR(tag))
    return entries


POLICY: dict[int, tuple[Action, str]] = {
    **_table(
        Action.KEEP,
        """ImageType Manufacturer ManufacturerModelName SoftwareVersions ScanOptions SliceThickness KVP
        DataCollectionDiameter ReconstructionDiameter DistanceSourceToDetector DistanceSourceToPatient
        GantryDetectorTilt TableHeight ExposureTime XRayTubeCurrent Exposure GeneratorPower FocalSpots
        ConvolutionKernel RevolutionTime SingleCollimationWidth TotalCollimationWidth TableSpeed
        TableFeedPerRotation SpiralPitchFactor DataCollectionCenterPatient
        ReconstructionTargetCenterPatient ExposureModulationType EstimatedDoseSaving CTDIvol
        SpacingBetweenSlices SeriesNumber AcquisitionNumber InstanceNumber ImagePositionPatient
        ImageOrientationPatient SliceLocation ImagesInAcquisition TemporalPositionIdentifier
        NumberOfTemporalPositions SamplesPerPixel PlanarConfiguration NumberOfFrames Rows Columns
        PixelSpacing PixelAspectRatio BitsAllocated BitsStored HighBit PixelRepresentation
        SmallestImagePixelValue LargestImagePixelValue PixelPaddingValue PixelPaddingRangeLimit
        WindowCenter WindowWidth RescaleIntercept RescaleSlope LossyImageCompressionRatio ExposureInuAs
        ExposureTimeInuS XRayTubeCurrentInuA GantryDetectorSlew TubeAngle AngularPosition
        ContrastBolusVolume ContrastBolusTotalDose ContrastFlowRate ContrastFlowDuration
        ContrastBolusIngredientConcentration FrameType FrameAcquisitionNumber ExposureTimeInms
        XRayTubeCurrentInmA ExposureInmAs ReconstructionFieldOfView ReconstructionPixelSpacing
        ReconstructionAngle DistanceSourceToDataCollectionCenter DimensionIndexPointer FunctionalGroupPointer
        DimensionIndexValues InStackPositionNumber TemporalPositionIndex FrameAcquisitionDuration""",
    ),
    **_table(
        Action.TERM,
        """Modality ConversionType PatientSex PatientPosition Laterality RotationDirection AcquisitionType
        ReconstructionAlgorithm PhotometricInterpretation QualityControlImage BurnedInAnnotation LossyImageCompression
        LossyImageCompressionMethod PixelPresentation VolumetricProperties VolumeBasedCalculationTechnique
        PresentationLUTShape FrameLaterality VOILUTFunction ConvolutionKernelGroup ConstantVolumeFlag FluoroscopyFlag
        MultienergyCTAcquisition FilterMaterial ContrastBolusIngredient""",
    ),
    **_table(
        Action.CLEAN,
        """StudyDescription SeriesDescription ProtocolName ContrastBolusAgent WindowCenterWidthExplanation
        PositionReferenceIndicator BodyPartExamined ContrastBolusRoute FilterType ImageFilter RescaleType
        StackID""",
    ),
    **_table(
        Action.UID,
        """SOPInstanceUID StudyInstanceUID SeriesInstanceUID FrameOfReferenceUID ReferencedSOPInstanceUID
        IrradiationEventUID SynchronizationFrameOfReferenceUID DimensionOrganizationUID ConcatenationUID
        SOPInstanceUIDOfConcatenationSource""",
    ),
    **_table(Action.CLASS, "SOPClassUID ReferencedSOPClassUID"),
    **_table(Action.DATE, "StudyDate SeriesDate AcquisitionDate ContentDate AcquisitionDateTime"),
    **_table(Action.AGE, "PatientAge"),
    **_table(Action.PIXELS, "PixelData"),
    **_table(
        Action.ITEMS,
        """ReferencedImageSequence SourceImageSequence SharedFunctionalGroupsSequence
        PerFrameFunctionalGroupsSequence PixelMeasuresSequence PlaneOrientationSequence PlanePositionSequence
        PixelValueTransformationSequence FrameVOILUTSequence FrameContentSequence FrameAnatomySequence
        CTImageFrameTypeSequence CTAcquisitionTypeSequence CTAcquisitionDetailsSequence CTTableDynamicsSequence
        CTGeometrySequence CTPositionSequence CTReconstructionSequence CTExposureSequence CTXRayDetailsSequence
        UnassignedSharedConvertedAttributesSequence UnassignedPerFrameConvertedAttributesSequence
        ConversionSourceAttributesSequence DimensionOrganizationSequence DimensionIndexSequence""",
    ),
}

EMPTIED: dict[int, str] = {
    tag: vr
    for tag, (_, vr) in _table(
        Action.KEEP,
        """StudyDate StudyTime AccessionNumber ReferringPhysicianName PatientBirthDate PatientSex StudyID
        PositionReferenceIndicator""",
    ).items()
}
"""Attributes of type 2 that a CT image must have: written empty where the policy leaves nothing."""

DEVICE_WORDS = _words(
    """ge siemens philips toshiba canon hitachi uih united imaging neusoft fujifilm samsung medical systems system
    healthcare health care healthineers corporation company inc ltd gmbh hospital center centre radiology"""
)
"""Words that device fields share with institutions' names; they identify nobody."""

IDENTITY = _words(
    """PatientID PatientName OtherPatientIDs OtherPatientNames PatientBirthName PatientMotherBirthName
    IssuerOfPatientID AccessionNumber StudyID PatientBirthDate ReferringPhysicianName PerformingPhysicianName
    NameOfPhysiciansReadingStudy PhysiciansOfRecord ConsultingPhysicianName OperatorsName RequestingPhysician
    ResponsiblePerson AdmissionID RequestedProcedureID PerformedProcedureStepID InstitutionName InstitutionAddress
    InstitutionalDepartmentName PatientTelephoneNumbers PatientAddress DeviceSerialNumber StationName StudyDate"""
)
"""Attributes whose words may appear in no text that is kept."""

TERMS = _words(
    """CT MR PT NM CR DX OT SC SEG SR M F O R L B U HFS HFP HFDR HFDL FFS FFP FFDR FFDL CW CC YES NO BOTH 00 01 NONE
    SEQUENCED SPIRAL CONSTANT_ANGLE STATIONARY FREE FILTER_BACK_PROJ ITERATIVE MONOCHROME1 MONOCHROME2 RGB YBR_FULL
    YBR_FULL_422 YBR_PARTIAL_420 YBR_ICT YBR_RCT ISO_10918_1 ISO_14495_1 ISO_15444_1 ISO_15444_15 ISO_13818_2
    ISO_14496_10 MONOCHROME COLOR MIXED TRUE_COLOR VOLUME SAMPLED DISTORTED MAX_IP MIN_IP VOLUME_RENDER SURFACE_RENDER
    MPR CURVED_MPR IDENTITY INVERSE LINEAR LINEAR_EXACT SIGMOID BRAIN SOFT_TISSUE LUNG BONE DV DI DF WSD SD SI DRW SYN
    ALUMINUM COPPER MOLYBDENUM RHODIUM NIOBIUM EUROPIUM LEAD IODINE GADOLINIUM BARIUM XENON"""
)
"""Values that PS3.3 defines for the attributes of Action.TERM, all of them together: none tells of anybody."""

VOCABULARY = _words(
    """ct chest thorax thoracic thor thorroutine lung lungs mediastinum mediastinal abdomen abd pelvis neck head brain
    heart cardiac aorta liver spine body whole upper lower trunk axial axials ax transverse tra trans cor coronal sag
    sagittal routine standard std low dose lowdose ld ldct hr hrct high resolution res thin thick slice slices slab
    soft tissue bone sharp smooth kernel recon reconstruction mpr mip minip avg average series scan plain native
    contrast enhanced non noncontrast nc ncct ce cect cm iv with without w wo and inspiration insp inspiratory
    expiration exp expiratory breath hold breathhold helical spiral sequence seq volume vol window wl ww lungwindow
    covid covid19 corona pneumonia screening follow up followup baseline adult child pediatric ped supine prone
    arterial venous portal delayed phase pre post angio cta pe pulmonary embolism idose asir fbp safire admire
    b c d e f g h i j l p q s t u x y br bl bf hr yc ya fc yb lb ub us bs kv kvp mm ma mas dm sin
    plus ultra detail iterative filter phantom
    sn hu scout topogram localizer private
    oral intravenous intraarterial flat large medium small bowtie fil wedge od mod hounsfield none
    chestabdomen chestabdpelvis abdomenpelvis headneck neckchest neckchestabdomen neckchestabdpelvis wholebody
    partialbody tspine cspine lspine ribcage rib ribs sternum clavicle shoulder arm extremity leg kidney bladder
    bronchus trachea hilum thoraxabdomen"""
)
"""Lower-case words that say how a scan was made and nothing about whom."""
